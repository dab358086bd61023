/* Floor enter: the loop, and what it needs of the backends. */
#ifndef CHOS_ENTER_H
#define CHOS_ENTER_H

#include "chos.h"

/* backends.c */
int chos_base_return(struct chos_session *s, struct chos_error *e);
int chos_permitted(const struct chos_session *s, struct chos_error *e);
/* `inside`: we are in the generation, or have been. */
int chos_backend_enter(struct chos_session *s, bool *inside, struct chos_error *e);
/* Whether this process is below a root directory of a backend's making, and how to leave that. */
bool chos_backend_inside(void);
int chos_backend_leave(struct chos_error *e);

/* enter.c */
void chos_session_clear(struct chos_session *s);

#endif
