// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * The files of /proc/chos: a small file system of its own, for a symbolic link below /proc can no longer be given by a
 * module. The module makes the directory; `mount -t chosfs chosfs /proc/chos` is user space's. All mounts show one.
 */
#include "chos.h"
#include "compat.h"

#include <linux/fs_context.h>
#include <linux/proc_fs.h>

#define MAGIC 0x63686f73	/* "chos" */

static const char *get_link(struct dentry *dentry, struct inode *inode, struct delayed_call *done);

static const struct inode_operations link_ops = {
	.get_link = get_link,
};

static void put_link(void *path)
{
	chos_path_put(path);
}

static const char *get_link(struct dentry *dentry, struct inode *inode, struct delayed_call *done)
{
	struct chos_path *path;

	if (!dentry)
		return ERR_PTR(-ECHILD);
	path = chos_table_path();
	if (IS_ERR_OR_NULL(path))
		return path ? ERR_CAST(path) : "/";
	set_delayed_call(done, put_link, path);
	return path->name;
}

static int add_link(struct super_block *super)
{
	struct dentry *dentry = d_alloc_name(super->s_root, "link");
	struct inode *inode;

	if (!dentry)
		return -ENOMEM;
	inode = new_inode(super);
	if (!inode) {
		dput(dentry);
		return -ENOMEM;
	}
	inode->i_ino = 100;
	inode->i_mode = S_IFLNK | 0777;
	inode->i_op = &link_ops;
	compat_inode_times(inode);
	compat_add(dentry, inode);
	return 0;
}

static int fill_super(struct super_block *super, struct fs_context *context)
{
	static const struct tree_descr files[] = {
		[2] = { "setchos", &chos_setchos_ops, 0666 },
		[3] = { "resetchos", &chos_resetchos_ops, 0666 },
		[4] = { "valid", &chos_valid_ops, 0600 },
		[5] = { "version", &chos_version_ops, 0444 },
		[6] = { "savestate", &chos_savestate_ops, 0600 },
		{ "" },
	};
	int err = simple_fill_super(super, MAGIC, files);

	if (err)
		return err;
	super->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	return add_link(super);
}

static int get_tree(struct fs_context *context)
{
	return get_tree_single(context, fill_super);
}

static const struct fs_context_operations context_ops = {
	.get_tree = get_tree,
};

static int init_context(struct fs_context *context)
{
	context->ops = &context_ops;
	return 0;
}

static struct file_system_type type = {
	.owner = THIS_MODULE,
	.name = "chosfs",
	.init_fs_context = init_context,
	.kill_sb = compat_kill_super,
};
MODULE_ALIAS_FS("chosfs");

int chos_fs_init(void)
{
	int err = register_filesystem(&type);

	if (err)
		return err;
	if (!proc_create_mount_point("chos")) {
		unregister_filesystem(&type);
		return -ENOMEM;
	}
	return 0;
}

void chos_fs_exit(void)
{
	remove_proc_entry("chos", NULL);
	unregister_filesystem(&type);
}
