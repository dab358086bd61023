/* Stand-ins for the system calls that libchos makes, for tests only: meson.build has every source of test_enter begin with this
 * file. Function-like macros, so that `struct stat` and members of the same names stay what they are.
 */
#ifndef FALSE_KERNEL_H
#define FALSE_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

int false_open(const char *path, int flags);
long false_syscall(long number, ...);
int false_close(int fd);
ssize_t false_read(int fd, void *to, size_t size);
ssize_t false_pread(int fd, void *to, size_t size, off_t at);
ssize_t false_write(int fd, const void *from, size_t size);
ssize_t false_readlinkat(int dir, const char *path, char *to, size_t size);
int false_stat(const char *path, struct stat *st);
int false_fstat(int fd, struct stat *st);
int false_fstatat(int dir, const char *path, struct stat *st);
int false_statfs(const char *path, struct statfs *fs);
int false_fstatfs(int fd, struct statfs *fs);
int false_ioctl(int fd, unsigned long what);
int false_setns(int fd);
int false_chdir(const char *path);
int false_fchdir(int fd);
int false_chroot(void);
int false_access(const char *path);

#define open(path, flags) false_open((path), (flags))
#define syscall(...) false_syscall(__VA_ARGS__)
#define close(fd) false_close(fd)
#define read(fd, to, size) false_read((fd), (to), (size))
#define pread(fd, to, size, at) false_pread((fd), (to), (size), (at))
#define write(fd, from, size) false_write((fd), (from), (size))
#define readlink(path, to, size) false_readlinkat(AT_FDCWD, (path), (to), (size))
#define readlinkat(dir, path, to, size) false_readlinkat((dir), (path), (to), (size))
#define stat(path, st) false_stat((path), (st))
#define fstat(fd, st) false_fstat((fd), (st))
#define fstatat(dir, path, st, flags) false_fstatat((dir), (path), (st))
#define statfs(path, fs) false_statfs((path), (fs))
#define fstatfs(fd, fs) false_fstatfs((fd), (fs))
#define ioctl(fd, what) false_ioctl((fd), (what))
#define setns(fd, type) false_setns(fd)
#define chdir(path) false_chdir(path)
#define fchdir(fd) false_fchdir(fd)
#define chroot(path) false_chroot()
#define access(path, mode) false_access(path)
#define getppid() 1

#endif
