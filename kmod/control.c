// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * What a write does. One write(2) is one command, wherever the file's offset is: a path of less than PATH_MAX bytes,
 * for `valid` perhaps after a dash, ended by a newline, a NUL, both or nothing. Two halves of a path are two commands,
 * and neither is on the list.
 */
#include "chos.h"

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

/* The command as a string, or ERR_PTR; to be freed by kfree. */
static char *command(const char __user *buffer, size_t size)
{
	char *text;

	if (!size)
		return ERR_PTR(-EINVAL);
	/* A dash, a path, a newline, a NUL */
	if (size > PATH_MAX + 2)
		return ERR_PTR(-ENAMETOOLONG);
	text = memdup_user_nul(buffer, size);
	if (IS_ERR(text))
		return text;
	if (!text[size - 1])
		size--;
	if (size && text[size - 1] == '\n')
		text[--size] = '\0';
	if (strlen(text) != size || !size || strchr(text, '\n')) {
		kfree(text);
		return ERR_PTR(-EINVAL);
	}
	if (size - (text[0] == '-') >= PATH_MAX) {
		kfree(text);
		return ERR_PTR(-ENAMETOOLONG);
	}
	return text;
}

/* Group by group as it was given: whoever has the list of another has come by it with privilege. */
static bool same_groups(const struct group_info *a, const struct group_info *b)
{
	return a == b || (a->ngroups == b->ngroups && !memcmp(a->gid, b->gid, a->ngroups * sizeof(*a->gid)));
}

/*
 * Who is more privileged than who opened the file, is a set-uid or set-gid program or the like that was given the
 * descriptor as its output: its messages are no commands. The saved ids count, and what is permitted: it can have them
 * back.
 */
static bool meant_it(const struct file *file)
{
	const struct cred *opener = file->f_cred, *writer = current_cred();

	return uid_eq(opener->uid, writer->uid) && gid_eq(opener->gid, writer->gid) &&
	       uid_eq(opener->euid, writer->euid) && gid_eq(opener->egid, writer->egid) &&
	       uid_eq(opener->suid, writer->suid) && gid_eq(opener->sgid, writer->sgid) &&
	       same_groups(opener->group_info, writer->group_info) && opener->user_ns == writer->user_ns &&
	       cap_issubset(writer->cap_permitted, opener->cap_permitted) &&
	       cap_issubset(writer->cap_effective, opener->cap_effective);
}

/*
 * no_new_privs is set after the root directory has moved, so that a refusal leaves the caller as it was. (It could not
 * always be taken back: not under a seccomp filter.) Nothing is executed inside without it: the caller is in this
 * system call, so it neither forks nor executes nor handles a signal before the end; and no other task has its root
 * directory, because chos_root_enter() has ended the sharing.
 */
static int enter(struct chos_path *path)
{
	int err = chos_root_enter(true);

	if (!err)
		chos_table_set(path, chos_nnp_set() ? CHOS_NNP_OURS : CHOS_NNP_AS_BEFORE);
	return err;
}

static int leave(struct chos_path *path)
{
	int err = chos_root_enter(false);

	if (err)
		return err;
	if (chos_table_nnp_is_ours())
		chos_nnp_clear();
	chos_table_set(path, CHOS_NNP_NOT_OURS);
	return 0;
}

static int set_path(const char *name)
{
	bool leaves = !strcmp(name, "/");
	struct chos_path *path;
	int err;

	path = leaves ? chos_path_new(name) : chos_path_find(name);
	if (!path)
		return leaves ? -ENOMEM : -ENOENT;
	err = leaves ? leave(path) : enter(path);
	if (err)
		chos_path_put(path);
	return err;
}

static ssize_t setchos_write(struct file *file, const char __user *buffer, size_t size, loff_t *offset)
{
	char *name = command(buffer, size);
	int err;

	if (IS_ERR(name))
		return PTR_ERR(name);
	err = meant_it(file) ? set_path(name) : -EPERM;
	chos_dbg("%s[%d] setchos %s: %d\n", current->comm, current->pid, name, err);
	kfree(name);
	return err ? err : size;
}

static ssize_t resetchos_write(struct file *file, const char __user *buffer, size_t size, loff_t *offset)
{
	if (current->flags & (PF_KTHREAD | PF_IO_WORKER))
		return -EOPNOTSUPP;
	if (!meant_it(file))
		return -EPERM;
	chos_table_set(NULL, CHOS_NNP_AS_BEFORE);
	chos_dbg("%s[%d] resetchos\n", current->comm, current->pid);
	return size;
}

/* Root of the machine itself, not of a container that was given its /proc. */
static bool administrator(const struct file *file)
{
	return meant_it(file) && uid_eq(current_euid(), GLOBAL_ROOT_UID) && capable(CAP_SYS_ADMIN);
}

static ssize_t valid_write(struct file *file, const char __user *buffer, size_t size, loff_t *offset)
{
	char *name;
	int err = 0;

	if (!administrator(file))
		return -EPERM;
	name = command(buffer, size);
	if (IS_ERR(name))
		return PTR_ERR(name);
	if (!strcmp(name, "-"))
		chos_paths_clear();
	else if (name[0] == '/')
		err = chos_paths_add(name);
	else if (name[0] == '-' && name[1] == '/')
		err = chos_paths_remove(name + 1);
	else
		err = -EINVAL;
	chos_dbg("valid %s: %d\n", name, err);
	kfree(name);
	return err ? err : size;
}

static int valid_open(struct inode *inode, struct file *file)
{
	return seq_open(file, &chos_paths_seq);
}

static ssize_t version_read(struct file *file, char __user *buffer, size_t size, loff_t *offset)
{
	static const char text[] = "chos " CHOS_VERSION " Fork trapped\n";

	return simple_read_from_buffer(buffer, size, offset, text, sizeof(text) - 1);
}

/* docs/kmod.md says why there is none. */
static ssize_t savestate_write(struct file *file, const char __user *buffer, size_t size, loff_t *offset)
{
	char *text;
	int err = 0;

	if (!administrator(file))
		return -EPERM;
	text = command(buffer, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (!strcmp(text, "1")) {
		pr_notice("savestate: processes cannot keep their environments while no module sees them start and end; unloading is refused while any has one\n");
		err = -EOPNOTSUPP;
	} else if (strcmp(text, "0")) {
		err = -EINVAL;
	}
	kfree(text);
	return err ? err : size;
}

static ssize_t savestate_read(struct file *file, char __user *buffer, size_t size, loff_t *offset)
{
	return simple_read_from_buffer(buffer, size, offset, "0\n", 2);
}

const struct file_operations chos_setchos_ops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.write = setchos_write,
};

const struct file_operations chos_resetchos_ops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.write = resetchos_write,
};

const struct file_operations chos_valid_ops = {
	.owner = THIS_MODULE,
	.open = valid_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = seq_release,
	.write = valid_write,
};

const struct file_operations chos_version_ops = {
	.owner = THIS_MODULE,
	.read = version_read,
	.llseek = default_llseek,
};

const struct file_operations chos_savestate_ops = {
	.owner = THIS_MODULE,
	.read = savestate_read,
	.llseek = default_llseek,
	.write = savestate_write,
};
