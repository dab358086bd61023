/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/*
 * chos.ko: each process tree in the OS tree of its user's choice. What the files of the module share.
 *
 *   main.c      loads and unloads, module parameters
 *   fs.c        the file system that is mounted on /proc/chos
 *   control.c   what a write to its files does
 *   paths.c     the allowed paths
 *   table.c     which task is in which environment
 *   trace.c     tasks come and go
 *   root.c      who may enter, and the root directory
 *   gains.c     nobody gains a right inside
 */
#ifndef CHOS_H
#define CHOS_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/types.h>

#ifdef CONFIG_PREEMPT_RT
#error "chos.ko allocates memory where a task is made, which must not sleep; PREEMPT_RT kernels do not allow that"
#endif

extern bool chos_debug;
#define chos_dbg(fmt, ...) \
	do { if (READ_ONCE(chos_debug)) pr_info(fmt, ##__VA_ARGS__); } while (0)

/* A path that tasks' /proc/chos/link leads to. It outlives its place on the list while a task or a look-up uses it. */
struct chos_path {
	refcount_t refs;
	struct hlist_node hash;		/* on the list */
	struct list_head order;
	char name[];
};

/* paths.c */
struct chos_path *chos_path_new(const char *name);
struct chos_path *chos_path_find(const char *name);	/* on the list; a reference, or NULL */
int chos_paths_add(const char *name);
int chos_paths_remove(const char *name);
void chos_paths_clear(void);
extern const struct seq_operations chos_paths_seq;

static inline struct chos_path *chos_path_get(struct chos_path *path)
{
	refcount_inc(&path->refs);
	return path;
}

void chos_path_put(struct chos_path *path);

/* table.c */
int chos_table_init(unsigned int size);
void chos_table_exit(void);
/* A task's no_new_privs is ours where the module has set it, and may clear it when the task leaves. */
enum chos_nnp { CHOS_NNP_AS_BEFORE, CHOS_NNP_OURS, CHOS_NNP_NOT_OURS };
/* The caller's own; path NULL: ask the ancestors; takes the reference. */
void chos_table_set(struct chos_path *path, enum chos_nnp nnp);
bool chos_table_nnp_is_ours(void);
void chos_table_nnp_is_not_ours(const struct task_struct *task);	/* nor that of its children from now on */
void chos_table_inherit(struct task_struct *child);
void chos_table_forget(struct task_struct *task);
struct chos_path *chos_table_path(void);	/* a reference, NULL for "/", ERR_PTR(-EIO) if its entry was lost */
unsigned int chos_table_count(void);
unsigned int chos_table_lost(void);

/* trace.c */
int chos_trace_start(void);
void chos_trace_stop(void);

/* root.c */
int chos_root_enter(bool inside);	/* true: to /chos; false: to the real root */
bool chos_root_is_real(void);

/* gains.c */
bool chos_nnp_set(void);	/* the caller's no_new_privs; true: it is ours */
void chos_nnp_clear(void);	/* but not under a seccomp filter */
void chos_nnp_watch(void);	/* for others that ask for it */
void chos_nnp_unwatch(void);

/* control.c */
extern const struct file_operations chos_setchos_ops, chos_resetchos_ops, chos_valid_ops, chos_version_ops,
	chos_savestate_ops;

/* fs.c */
int chos_fs_init(void);
void chos_fs_exit(void);

#endif
