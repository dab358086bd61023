// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * The allowed paths, in the order in which they were added. Only root changes the list; a path that leaves it
 * stays with the tasks that have it.
 */
#include "chos.h"

#include <linux/hashtable.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/stringhash.h>

static DEFINE_HASHTABLE(by_name, 10);
static LIST_HEAD(in_order);
static DEFINE_MUTEX(lock);

static u32 hash_of(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

struct chos_path *chos_path_new(const char *name)
{
	size_t size = strlen(name) + 1;
	struct chos_path *path = kmalloc(sizeof(*path) + size, GFP_KERNEL_ACCOUNT);

	if (!path)
		return NULL;
	refcount_set(&path->refs, 1);
	memcpy(path->name, name, size);
	return path;
}

/* Whoever may still look at a path under RCU holds a reference on it, or on a table entry that does. */
void chos_path_put(struct chos_path *path)
{
	if (path && refcount_dec_and_test(&path->refs))
		kfree(path);
}

static struct chos_path *find(const char *name)
{
	struct chos_path *path;

	hash_for_each_possible(by_name, path, hash, hash_of(name))
		if (!strcmp(path->name, name))
			return path;
	return NULL;
}

struct chos_path *chos_path_find(const char *name)
{
	struct chos_path *path;

	mutex_lock(&lock);
	path = find(name);
	if (path)
		chos_path_get(path);
	mutex_unlock(&lock);
	return path;
}

/* A path that is there already is no error: boot scripts say some twice. */
int chos_paths_add(const char *name)
{
	struct chos_path *path = chos_path_new(name);

	if (!path)
		return -ENOMEM;
	mutex_lock(&lock);
	if (find(name)) {
		chos_path_put(path);
	} else {
		hash_add(by_name, &path->hash, hash_of(name));
		list_add_tail(&path->order, &in_order);
	}
	mutex_unlock(&lock);
	return 0;
}

/* Under the lock. */
static void remove(struct chos_path *path)
{
	hash_del(&path->hash);
	list_del(&path->order);
	chos_path_put(path);
}

int chos_paths_remove(const char *name)
{
	struct chos_path *path;
	int err = -ENOENT;

	mutex_lock(&lock);
	path = find(name);
	if (path) {
		remove(path);
		err = 0;
	}
	mutex_unlock(&lock);
	return err;
}

void chos_paths_clear(void)
{
	struct chos_path *path, *next;

	mutex_lock(&lock);
	list_for_each_entry_safe(path, next, &in_order, order)
		remove(path);
	mutex_unlock(&lock);
}

static void *seq_first(struct seq_file *seq, loff_t *pos)
{
	mutex_lock(&lock);
	return seq_list_start(&in_order, *pos);
}

static void *seq_following(struct seq_file *seq, void *item, loff_t *pos)
{
	return seq_list_next(item, &in_order, pos);
}

static void seq_end(struct seq_file *seq, void *item)
{
	mutex_unlock(&lock);
}

static int seq_print(struct seq_file *seq, void *item)
{
	seq_printf(seq, "%s\n", list_entry(item, struct chos_path, order)->name);
	return 0;
}

const struct seq_operations chos_paths_seq = {
	.start = seq_first,
	.next = seq_following,
	.stop = seq_end,
	.show = seq_print,
};
