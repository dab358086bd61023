/* Backend kmod: the files of the kernel module. */
#ifndef CHOS_KMOD_H
#define CHOS_KMOD_H

#include "registry/registry.h"

bool chos_kmod_inside(void);
void chos_kmod_tree(char tree[CHOS_TREE_SIZE]);
int chos_kmod_again(const char *tree, struct chos_error *e);
int chos_kmod_leave(struct chos_error *e);
int chos_kmod_open_outside(int (*open_it)(const char *), const char *path, struct chos_error *e);
int chos_kmod_enter(struct chos_session *s, struct chos_error *e);

#endif
