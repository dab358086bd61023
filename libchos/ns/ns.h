/* Backend ns: pinned mount namespaces. */
#ifndef CHOS_NS_H
#define CHOS_NS_H

#include "registry/registry.h"

/* pin.c */
bool chos_is_mount_ns(int fd);
int chos_pin_open(const struct chos_session *s, struct chos_error *e);
int chos_setns(int fd, const char *object, struct chos_error *e);

/* base.c */
int chos_ns_return(struct chos_session *s, struct chos_error *e);

#endif
