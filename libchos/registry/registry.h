/* Floor registry: reads /run/chos. */
#ifndef CHOS_REGISTRY_H
#define CHOS_REGISTRY_H

#include "sys/sys.h"

/* registry.c */
struct stat;
bool chos_is_roots(const struct stat *st);
int chos_registry_find(struct chos_session *s, struct chos_error *e);
int chos_file_open(const struct chos_session *s, const char *path, struct chos_error *e);
long chos_file_read(const struct chos_session *s, const char *path, char *text, size_t size, struct chos_error *e);
int chos_resolve(const struct chos_session *s, bool through, struct chos_link *to, struct chos_error *e);
int chos_still_leads_here(const struct chos_session *s, struct chos_error *e);
bool chos_leads_elsewhere(const struct chos_session *s);

/* is_base.c */
int chos_base_read(struct chos_session *s, struct chos_error *e);
bool chos_in_base(const struct chos_session *s);
bool chos_root_is(const struct chos_root *root);

/* generation.c */
int chos_generation_open(const struct chos_session *s, const char *file);
int chos_generation_check(const struct chos_session *s, struct chos_error *e);

#endif
