"""The system calls that a tree's shell may make while it is tried, as a filter for seccomp(2).

It is a list of allowed calls, so calls that later kernels add are refused too. A shell that only starts and ends needs
few calls; all others fail with ENOSYS. The list contains no call that makes a socket, a queue, shared memory, a
process, a namespace or a mount, none that looks into another process, and none that changes a file. Used by
`backends.trial`.
"""

from __future__ import annotations

import errno
import struct
import sys
from functools import lru_cache

# AUDIT_ARCH_* of linux/audit.h. By these numbers a filter distinguishes calls of 64-bit and of 32-bit programs, whose
# system calls have different numbers. Each is paired with its column in the table.
_ABIS = {
    "x86_64": ((0xC000003E, 0), (0x40000003, 1)),
    "i686": ((0xC000003E, 0), (0x40000003, 1)),  # so uname(2) calls x86_64 below `setarch i686`
    "aarch64": ((0xC00000B7, 3), (0x40000028, 2)),
    "armv8l": ((0xC00000B7, 3), (0x40000028, 2)),  # and aarch64 below `setarch linux32`
    "riscv64": ((0xC00000F3, 3),),
    "loongarch64": ((0xC0000102, 3),),
    "ppc64": ((0x80000015, 4),),
    "ppc64le": ((0xC0000015, 4),),
    "s390x": ((0x80000016, 5),),
}
# name                 x86_64   i386    arm  newer  ppc64  s390x    (newer: aarch64 and all that came after it)
_ALLOWED = """
read                        0      3      3     63      3      3
write                       1      4      4     64      4      4
readv                      19    145    145     65    145    145
writev                     20    146    146     66    146    146
pread64                    17    180    180     67    179    180
lseek                       8     19     19     62     19     19
_llseek                     -    140    140      -    140      -
open                        2      5      5      -      5      5
openat                    257    295    322     56    286    288
openat2                   437    437    437    437    437    437
close                       3      6      6     57      6      6
close_range               436    436    436    436    436    436
stat                        4    106    106      -    106    106
lstat                       6    107    107      -    107    107
fstat                       5    108    108     80    108    108
newfstatat                262      -      -     79    291    293
stat64                      -    195    195      -      -      -
lstat64                     -    196    196      -      -      -
fstat64                     -    197    197      -      -      -
fstatat64                   -    300    327      -      -      -
statx                     332    383    397    291    383    379
statfs                    137     99     99     43     99     99
fstatfs                   138    100    100     44    100    100
access                     21     33     33      -     33     33
faccessat                 269    307    334     48    298    300
faccessat2                439    439    439    439    439    439
readlink                   89     85     85      -     85     85
readlinkat                267    305    332     78    296    298
getdents                   78    141    141      -    141    141
getdents64                217    220    217     61    202    220
getcwd                     79    183    183     17    182    183
chdir                      80     12     12     49     12     12
fchdir                     81    133    133     50    133    133
umask                      95     60     60    166     60     60
fcntl                      72     55     55     25     55     55
fcntl64                     -    221    221      -      -      -
dup                        32     41     41     23     41     41
dup2                       33     63     63      -     63     63
dup3                      292    330    358     24    316    326
pipe                       22     42     42      -     42     42
pipe2                     293    331    359     59    317    325
poll                        7    168    168      -    167    168
ppoll                     271    309    336     73    281    302
ppoll_time64                -    414    414      -      -      -
select                     23     82      -      -     82    142
_newselect                  -    142    142      -    142      -
pselect6                  270    308    335     72    280    301
pselect6_time64             -    413    413      -      -      -
mmap                        9     90      -    222     90     90
mmap2                       -    192    192      -      -      -
munmap                     11     91     91    215     91     91
mprotect                   10    125    125    226    125    125
mremap                     25    163    163    216    163    163
brk                        12     45     45    214     45     45
madvise                    28    219    220    233    205    219
membarrier                324    375    389    283    365    356
rt_sigaction               13    174    174    134    173    174
rt_sigprocmask             14    175    175    135    174    175
rt_sigreturn               15    173    173    139    172    173
rt_sigsuspend             130    179    179    133    178    179
rt_sigpending             127    176    176    136    175    176
rt_sigtimedwait           128    177    177    137    176    177
rt_sigtimedwait_time64      -    421    421      -      -      -
sigaction                   -     67     67      -     67     67
sigprocmask                 -    126    126      -    126    126
sigreturn                   -    119    119      -    119    119
sigsuspend                  -     72     72      -     72     72
sigpending                  -     73     73      -     73     73
signal                      -     48      -      -     48     48
sigaltstack               131    186    186    132    185    186
pause                      34     29     29      -     29     29
alarm                      37     27      -      -     27     27
getitimer                  36    105    105    102    105    105
setitimer                  38    104    104    103    104    104
kill                       62     37     37    129     37     37
tkill                     200    238    238    130    208    237
tgkill                    234    270    268    131    250    241
restart_syscall           219      0      0    128      0      7
execve                     59     11     11    221     11     11
exit                       60      1      1     93      1      1
exit_group                231    252    248     94    234    248
wait4                      61    114    114    260    114    114
waitid                    247    284    280     95    272    281
waitpid                     -      7      -      -      7      -
getpid                     39     20     20    172     20     20
getppid                   110     64     64    173     64     64
gettid                    186    224    224    178    207    236
getpgrp                   111     65     65      -     65     65
getpgid                   121    132    132    155    132    132
setpgid                   109     57     57    154     57     57
getsid                    124    147    147    156    147    147
setsid                    112     66     66    157     66     66
getuid                    102     24     24    174     24    199
geteuid                   107     49     49    175     49    201
getgid                    104     47     47    176     47    200
getegid                   108     50     50    177     50    202
getresuid                 118    165    165    148    165    209
getresgid                 120    171    171    150    170    211
getgroups                 115     80     80    158     80    205
getuid32                    -    199    199      -      -      -
geteuid32                   -    201    201      -      -      -
getgid32                    -    200    200      -      -      -
getegid32                   -    202    202      -      -      -
getresuid32                 -    209    209      -      -      -
getresgid32                 -    211    211      -      -      -
getgroups32                 -    205    205      -      -      -
getrlimit                  97     76      -    163     76    191
ugetrlimit                  -    191    191      -    190      -
setrlimit                 160     75     75    164     75     75
prlimit64                 302    340    369    261    325    334
getrusage                  98     77     77    165     77     77
times                     100     43     43    153     43     43
uname                      63    122    122    160    122    122
sysinfo                    99    116    116    179    116    116
set_tid_address           218    258    256     96    232    252
set_robust_list           273    311    338     99    300    304
get_robust_list           274    312    339    100    299    305
rseq                      334    386    398    293    387    383
futex                     202    240    240     98    221    238
futex_time64                -    422    422      -      -      -
sched_yield                24    158    158    124    158    158
sched_getaffinity         204    242    242    123    223    240
getcpu                    309    318    345    168    302    311
arch_prctl                158    384      -      -      -      -
set_thread_area           205    243      -      -      -      -
get_thread_area           211    244      -      -      -      -
set_tls                     -      - 983045      -      -      -
cacheflush                  -      - 983042      -      -      -
riscv_hwprobe               -      -      -    258      -      -
riscv_flush_icache          -      -      -    259      -      -
time                      201     13      -      -     13      -
gettimeofday               96     78     78    169     78     78
clock_gettime             228    265    263    113    246    260
clock_getres              229    266    264    114    247    261
clock_nanosleep           230    267    265    115    248    262
nanosleep                  35    162    162    101    162    162
clock_gettime64             -    403    403      -      -      -
clock_getres_time64         -    406    406      -      -      -
clock_nanosleep_time64      -    407    407      -      -      -
getrandom                 318    355    384    278    359    349
"""
# Calls that get another answer than ENOSYS.
_OTHERS = """
fork                       57      2      2      -      2      2
vfork                      58    190    190      -    189    190
clone                      56    120    120    220    120    120
clone3                    435    435    435    435    435    435
ioctl                      16     54     54     29     54     54
prctl                     157    172    172    167    171    172
"""
_ANSWERS = {
    # The same error as from the limit on processes.
    **dict.fromkeys(("fork", "vfork", "clone", "clone3"), errno.EAGAIN),
    "ioctl": errno.ENOTTY,  # it has no terminal
}
# linux/prctl.h: PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS, PR_SET_VMA. Above all
# not PR_SET_PDEATHSIG: the shell is to end with its builder.
_PRCTL = (3, 15, 16, 23, 39, 0x53564D41)

_LOAD, _JUMP_IF, _JUMP, _RETURN = 0x20, 0x15, 0x05, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_FIRST_ARGUMENT = 16 if sys.byteorder == "little" else 20  # its lower half
_NO_SUCH_CALL = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)

_Instruction = tuple[int, int, int, int]


@lru_cache(maxsize=1)
def program(machine: str) -> bytes:
    """The filter, as an array of `struct sock_filter`; empty for a machine whose call numbers are unknown.

    :param machine: as of uname(2).
    """
    if machine not in _ABIS or sys.maxsize < 2**32:
        return b""
    instructions: list[_Instruction] = [(_LOAD, 0, 0, _ARCH)]
    for arch, column in _ABIS[machine]:
        judged = _of_abi(column)
        # A conditional jump reaches 255 instructions at most, an unconditional one any number.
        instructions += [(_JUMP_IF, 1, 0, arch), (_JUMP, 0, 0, len(judged)), *judged]
    instructions.append(_NO_SUCH_CALL)
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def _of_abi(column: int) -> list[_Instruction]:
    """Decide by the call's number. On x86_64 the numbers of x32 programs have one more bit, so they are on no list."""
    result: list[_Instruction] = [(_LOAD, 0, 0, _NUMBER)]
    for number in numbers(_ALLOWED, column).values():
        result += [(_JUMP_IF, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    others = numbers(_OTHERS, column)
    for name, answer in _ANSWERS.items():
        if name in others:
            result += [(_JUMP_IF, 0, 1, others[name]), (_RETURN, 0, 0, _ERRNO | answer)]
    result += [(_JUMP_IF, 1, 0, others["prctl"]), _NO_SUCH_CALL, (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    for option in _PRCTL:
        result += [(_JUMP_IF, 0, 1, option), (_RETURN, 0, 0, _ALLOW)]
    return [*result, (_RETURN, 0, 0, _ERRNO | errno.EINVAL)]


def numbers(table: str, column: int) -> dict[str, int]:
    """Name → number, from one column of a table above; `-` means that there is no such call."""
    rows = [line.split() for line in table.split("\n") if line]
    return {row[0]: int(row[column + 1]) for row in rows if row[column + 1] != "-"}
