/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0 */
/* What differs between kernels, from 5.10 to 7.2. Kbuild finds out what this one has. */
#ifndef CHOS_COMPAT_H
#define CHOS_COMPAT_H

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>

static inline struct file *compat_open_below(const struct path *root, const char *name, int flags)
{
#ifdef HAVE_OPEN_ROOT_PATH
	return file_open_root(root, name, flags, 0);
#else
	return file_open_root(root->dentry, root->mnt, name, flags, 0);
#endif
}

/* Takes a reference on the new root and gives back that on the old one. */
static inline void compat_set_root(struct fs_struct *fs, const struct path *root, struct path *old)
{
	path_get(root);
#ifdef HAVE_FS_SEQLOCK
	write_seqlock(&fs->seq);
	*old = fs->root;
	fs->root = *root;
	write_sequnlock(&fs->seq);
#else
	spin_lock(&fs->lock);
	write_seqcount_begin(&fs->seq);
	*old = fs->root;
	fs->root = *root;
	write_seqcount_end(&fs->seq);
	spin_unlock(&fs->lock);
#endif
}

static inline void compat_inode_times(struct inode *inode)
{
#ifdef HAVE_INIT_TS
	simple_inode_init_ts(inode);
#else
	inode->i_atime = inode->i_mtime = inode->i_ctime = current_time(inode);
#endif
}

/* A dentry that stays until the file system goes. */
static inline void compat_add(struct dentry *dentry, struct inode *inode)
{
#ifdef HAVE_MAKE_PERSISTENT
	d_make_persistent(dentry, inode);
	dput(dentry);
#else
	d_add(dentry, inode);
#endif
}

#ifdef HAVE_MAKE_PERSISTENT
#define compat_kill_super kill_anon_super
#else
#define compat_kill_super kill_litter_super
#endif

#ifdef HAVE_U64_CLONE_FLAGS
typedef u64 compat_clone_flags;
#else
typedef unsigned long compat_clone_flags;
#endif

#ifdef HAVE_GROUP_DEAD
#define COMPAT_EXIT_ARGS struct task_struct *task, bool group_dead
#else
#define COMPAT_EXIT_ARGS struct task_struct *task
#endif

#endif
