#!/bin/sh
# Builds the launcher: launcher/build.sh CC OUTPUT VERSION [FLAG...]
#
# The compiler is musl-gcc where there is one: half the start-up time, and unlike glibc it leaves TMPDIR and
# LD_LIBRARY_PATH in the environment of a job although the file has capabilities. Its specs know nothing
# of static-pie, so that is spelt out here, and given up where rcrt1.o is missing.
set -eu
cc=$1 output=$2 version=$3
shift 3
top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
set -- -std=c11 -D_GNU_SOURCE -Os -g0 -Wall -Wextra -Wformat=2 -Werror \
    -fno-tree-switch-conversion -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fPIE \
    -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
    -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code \
    -I"$top/libchos" -DCHOS_VERSION="\"$version\"" "$@" \
    "$top"/libchos/sys/*.c "$top"/libchos/format/*.c "$top"/libchos/registry/*.c "$top"/libchos/ns/*.c "$top"/libchos/kmod/*.c \
    "$top"/libchos/enter/*.c "$top"/launcher/*.c

case $cc in
*musl*)
    # Its static start never protects relocated data again, so relro would protect nothing. Without it all data that is written
    # fits into one page, which the kernel has touched already when it loads the program; each further page costs
    # an entry some two microseconds, a further mapping three. tests/unit/test_launcher_data.py looks.
    set -- "$@" -Wl,-z,norelro
    # Not -print-file-name: that finds glibc's rcrt1.o, which relocates nothing here.
    machine=$(uname -m)
    for lib in "/usr/lib/$machine-linux-musl" /usr/lib/musl/lib "/usr/$machine-linux-musl/lib64" /usr/local/musl/lib; do
        [ -e "$lib/rcrt1.o" ] || continue
        exec "$cc" -flto -static -nostartfiles -Wl,-pie,--no-dynamic-linker,-z,text -s \
            "$lib/rcrt1.o" "$lib/crti.o" "$@" "$lib/crtn.o" -o "$output"
    done
    exec "$cc" -flto -static -s "$@" -o "$output"
    ;;
*)
    exec "$cc" -static-pie -s "$@" -o "$output"
    ;;
esac
