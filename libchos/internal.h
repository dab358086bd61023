/* What the files of libchos share. It defines constants of the kernel itself, because musl comes without the kernel's headers. */
#ifndef CHOS_INTERNAL_H
#define CHOS_INTERNAL_H

#include "chos.h"

enum {
    TMPFS = 0x01021994,
    RESOLVE_MAGICLINKS_NO = 0x02,
    RESOLVE_SYMLINKS_NO = 0x04,
    RESOLVE_BELOW = 0x08,
    RESOLVE_STRICT = RESOLVE_MAGICLINKS_NO | RESOLVE_SYMLINKS_NO | RESOLVE_BELOW,
};

/* registry.c */
struct stat;
int chos_openat2(const char *path, int flags, uint64_t resolve);
int chos_openat2_at(int dir, const char *path, int flags, uint64_t resolve);
bool chos_is_roots(const struct stat *st);
int chos_file_open(const struct chos_session *s, const char *path, struct chos_error *e);
long chos_file_read(const struct chos_session *s, const char *path, char *text, size_t size, struct chos_error *e);
int chos_resolve(const struct chos_session *s, bool through, struct chos_link *to, struct chos_error *e);
int chos_base_read(struct chos_session *s, struct chos_error *e);
int chos_still_leads_here(const struct chos_session *s, struct chos_error *e);
bool chos_leads_elsewhere(const struct chos_session *s);

/* generation.c */
int chos_generation_open(const struct chos_session *s, const char *file);
int chos_generation_check(const struct chos_session *s, struct chos_error *e);

/* pin.c */
bool chos_is_mount_ns(int fd);
int chos_pin_open(const struct chos_session *s, struct chos_error *e);
int chos_setns(int fd, const char *object, struct chos_error *e);

/* enter.c */
void chos_session_clear(struct chos_session *s);

/* base.c */
bool chos_in_base(const struct chos_session *s);
bool chos_root_is(const struct chos_root *root);
int chos_base_return(struct chos_session *s, struct chos_error *e);

/* kmod.c */
bool chos_kmod_inside(void);
void chos_kmod_tree(char tree[CHOS_TREE_SIZE]);
int chos_kmod_again(const char *tree, struct chos_error *e);
int chos_kmod_leave(struct chos_error *e);
int chos_kmod_open_outside(int (*open_it)(const char *), const char *path, struct chos_error *e);
int chos_kmod_enter(struct chos_session *s, struct chos_error *e);

#endif
