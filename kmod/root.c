// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * The root directory: who may change theirs, and the change.
 *
 * There are two places: the real root, which is that of process 1, and /chos in it. A task whose root directory is any
 * other was put there by chroot(2), by a mount namespace or by a container, to keep it there; it is refused. So is one
 * in a user namespace, where who calls may not be who it seems.
 */
#include "chos.h"
#include "compat.h"

#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/nsproxy.h>
#include <linux/path.h>
#include <linux/pid_namespace.h>
#include <linux/sched/task.h>
#include <linux/user_namespace.h>

enum place { REAL, INSIDE, ELSEWHERE };

/* -EPERM where the caller's mounts are not those of process 1. */
static int real_root(struct path *root)
{
	struct task_struct *init = init_pid_ns.child_reaper;
	int err = -EPERM;

	task_lock(init);
	if (init->fs && init->nsproxy && init->nsproxy->mnt_ns == current->nsproxy->mnt_ns) {
		get_fs_root(init->fs, root);
		err = 0;
	}
	task_unlock(init);
	return err;
}

/* /chos as process 1 finds it, whatever the caller's root directory is. */
static int chos_directory(const struct path *real, struct path *directory)
{
	struct file *file = compat_open_below(real, "chos", O_PATH | O_DIRECTORY);

	if (IS_ERR(file))
		return PTR_ERR(file);
	*directory = file->f_path;
	path_get(directory);
	fput(file);
	return 0;
}

static enum place where(const struct path *real, const struct path *directory)
{
	struct path root;
	enum place place = ELSEWHERE;

	get_fs_root(current->fs, &root);
	if (path_equal(&root, real))
		place = REAL;
	else if (path_equal(&root, directory))
		place = INSIDE;
	path_put(&root);
	return place;
}

/* Threads, and processes made with CLONE_FS, share a root directory; only the caller's own is changed. */
static int move(const struct path *real, const struct path *directory, enum place wanted)
{
	const struct path *target = wanted == REAL ? real : directory;
	struct path old;
	enum place place = where(real, directory);
	int err;

	if (place == ELSEWHERE)
		return -EPERM;
	if (place == wanted)
		return 0;
	if (current->fs->users > 1) {
		err = unshare_fs_struct();
		if (err)
			return err;
		/* Another thread may have called chroot(2) meanwhile. */
		if (where(real, directory) != place)
			return -EPERM;
	}
	compat_set_root(current->fs, target, &old);
	path_put(&old);
	return 0;
}

int chos_root_enter(bool inside)
{
	struct path real, directory;
	int err;

	/* A worker of the kernel would only move itself. */
	if (current->flags & (PF_KTHREAD | PF_IO_WORKER))
		return -EOPNOTSUPP;
	if (current_user_ns() != &init_user_ns)
		return -EPERM;
	err = real_root(&real);
	if (err)
		return err;
	err = chos_directory(&real, &directory);
	if (!err) {
		err = move(&real, &directory, inside ? INSIDE : REAL);
		path_put(&directory);
	}
	path_put(&real);
	return err;
}

bool chos_root_is_real(void)
{
	struct path real, root;
	bool same;

	if (real_root(&real))
		return false;
	get_fs_root(current->fs, &root);
	same = path_equal(&root, &real);
	path_put(&root);
	path_put(&real);
	return same;
}
