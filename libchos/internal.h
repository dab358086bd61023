/* What the modules of libchos share. The kernel's constants are our own: musl comes without its headers. */
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
int chos_openat2(const char *path, int flags, uint64_t resolve);
int chos_base_read(struct chos_session *s, struct chos_error *e);
int chos_still_leads_here(const struct chos_session *s, struct chos_error *e);
bool chos_leads_elsewhere(const struct chos_session *s);
int chos_generation_open(struct chos_session *s, struct chos_error *e);

/* pin.c */
bool chos_is_mount_ns(int fd);
int chos_pin_open(const struct chos_session *s, struct chos_error *e);
int chos_setns(int fd, const char *object, struct chos_error *e);

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
