// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Which task is in which environment: a hash table by task_struct. An entry is made by setchos or at fork. It never
 * changes, except that `nnp_is_ours` can become false. It goes when its task exits, before the task_struct can be used
 * again. A task that executes a program from a thread other than the leader keeps its task_struct, and so its entry,
 * though not its number.
 *
 * Only a task itself, and whoever makes or ends it, writes its entry; everybody reads under RCU. The table has a fixed
 * size, so that recording a child needs no memory but its entry, and for that there is a reserve.
 *
 * Each entry holds a reference on the module: it cannot be unloaded while a task has one.
 */
#include "chos.h"

#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#define RESERVE 256
#define LOCKS 64

struct entry {
	struct hlist_node node;
	const struct task_struct *task;
	struct chos_path *path;		/* NULL: has none of its own, ask the ancestors */
	bool nnp_is_ours;		/* the module has set its no_new_privs, and clears it when the task leaves */
	struct rcu_head rcu;
};

static struct hlist_head *buckets;
static unsigned int bits;
static spinlock_t locks[LOCKS];
static mempool_t *entries;
static atomic_t count = ATOMIC_INIT(0);
static atomic_t lost = ATOMIC_INIT(0);

static unsigned int bucket_of(const struct task_struct *task)
{
	return hash_ptr(task, bits);
}

static struct entry *find(const struct task_struct *task)
{
	struct entry *entry;

	hlist_for_each_entry_rcu(entry, &buckets[bucket_of(task)], node)
		if (entry->task == task)
			return entry;
	return NULL;
}

static void free_entry(struct rcu_head *rcu)
{
	struct entry *entry = container_of(rcu, struct entry, rcu);

	chos_path_put(entry->path);
	mempool_free(entry, entries);
}

static void copy_nnp(struct entry *entry, const struct entry *from)
{
	/* Whoever sets `from` to false meanwhile finds the copy as well, or is seen here. */
	smp_mb();
	if (!READ_ONCE(from->nnp_is_ours))
		WRITE_ONCE(entry->nnp_is_ours, false);
}

/* Takes the reference on the path. The caller has seen to it that the task has no entry, or names it. */
static void put_in_place(struct entry *entry, struct task_struct *task, struct chos_path *path, struct entry *old)
{
	unsigned int bucket = bucket_of(task);
	spinlock_t *lock = &locks[bucket % LOCKS];

	entry->task = task;
	entry->path = path;
	spin_lock(lock);
	if (old) {
		hlist_replace_rcu(&old->node, &entry->node);
	} else {
		__module_get(THIS_MODULE);
		atomic_inc(&count);
		hlist_add_head_rcu(&entry->node, &buckets[bucket]);
	}
	spin_unlock(lock);
}

void chos_table_set(struct chos_path *path, enum chos_nnp nnp)
{
	struct entry *entry = mempool_alloc(entries, GFP_KERNEL);	/* waits, and never fails */
	struct entry *old;

	/* Nobody else removes the caller's entry, so that it holds outside of the read section. */
	rcu_read_lock();
	old = find(current);
	rcu_read_unlock();
	entry->nnp_is_ours = nnp == CHOS_NNP_OURS || (nnp == CHOS_NNP_AS_BEFORE && old && READ_ONCE(old->nnp_is_ours));
	put_in_place(entry, current, path, old);
	if (old && nnp == CHOS_NNP_AS_BEFORE)
		copy_nnp(entry, old);
	if (old)
		call_rcu(&old->rcu, free_entry);
}

bool chos_table_nnp_is_ours(void)
{
	struct entry *entry;
	bool ours;

	rcu_read_lock();
	entry = find(current);
	ours = entry && READ_ONCE(entry->nnp_is_ours);
	rcu_read_unlock();
	return ours;
}

/* Without a lock, for it is called from a probe. An entry that takes the place of this one meanwhile is found, too. */
void chos_table_nnp_is_not_ours(const struct task_struct *task)
{
	struct entry *entry;

	if (!atomic_read(&count))
		return;
	rcu_read_lock();
	while ((entry = find(task)) && READ_ONCE(entry->nnp_is_ours)) {
		WRITE_ONCE(entry->nnp_is_ours, false);
		/* Against copy_nnp() */
		smp_mb();
	}
	rcu_read_unlock();
}

void chos_table_inherit(struct task_struct *child)
{
	struct entry *mine, *entry;

	if (!atomic_read(&count))
		return;
	rcu_read_lock();
	mine = find(current);
	if (mine) {
		entry = mempool_alloc(entries, GFP_ATOMIC | __GFP_NOWARN);
		if (entry) {
			entry->nnp_is_ours = READ_ONCE(mine->nnp_is_ours);
			put_in_place(entry, child, mine->path ? chos_path_get(mine->path) : NULL, NULL);
			copy_nnp(entry, mine);
		} else {
			atomic_inc(&lost);
			pr_err_ratelimited("no memory for the entry of a child of %s[%d]: it will find no environment\n",
					   current->comm, current->pid);
		}
	}
	rcu_read_unlock();
}

void chos_table_forget(struct task_struct *task)
{
	struct entry *entry;
	spinlock_t *lock;

	if (!atomic_read(&count))
		return;
	rcu_read_lock();
	entry = find(task);
	if (entry) {
		lock = &locks[bucket_of(task) % LOCKS];
		spin_lock(lock);
		hlist_del_rcu(&entry->node);
		spin_unlock(lock);
		atomic_dec(&count);
		call_rcu(&entry->rcu, free_entry);
		module_put(THIS_MODULE);
	}
	rcu_read_unlock();
}

/*
 * A child whose entry was lost for want of memory must not be taken for one that never had any. It is known by its
 * root directory, which it inherited by other ways; only after a loss, because a task may be in /chos by chroot(8).
 */
static struct chos_path *without_entry(void)
{
	return chos_root_is_real() ? NULL : ERR_PTR(-EIO);
}

struct chos_path *chos_table_path(void)
{
	struct chos_path *path = NULL;
	const struct task_struct *task;
	struct entry *entry;

	if (!atomic_read(&count) && !atomic_read(&lost))
		return NULL;
	rcu_read_lock();
	entry = find(current);
	if (!entry && atomic_read(&lost)) {
		rcu_read_unlock();
		return without_entry();
	}
	for (task = current; task->pid; task = rcu_dereference(task->real_parent)) {
		entry = find(task);
		if (entry && entry->path) {
			path = chos_path_get(entry->path);
			break;
		}
	}
	rcu_read_unlock();
	return path;
}

unsigned int chos_table_count(void)
{
	return atomic_read(&count);
}

unsigned int chos_table_lost(void)
{
	return atomic_read(&lost);
}

int chos_table_init(unsigned int size)
{
	unsigned int i;

	bits = ilog2(roundup_pow_of_two(clamp(size, 64U, 1U << 22)));
	buckets = kvcalloc(1UL << bits, sizeof(*buckets), GFP_KERNEL);
	entries = mempool_create_kmalloc_pool(RESERVE, sizeof(struct entry));
	if (!buckets || !entries) {
		chos_table_exit();
		return -ENOMEM;
	}
	for (i = 0; i < LOCKS; i++)
		spin_lock_init(&locks[i]);
	return 0;
}

/* Nothing can be in the table any more; the last entries may still be on their way to the pool. */
void chos_table_exit(void)
{
	rcu_barrier();
	WARN_ON(atomic_read(&count));
	mempool_destroy(entries);
	kvfree(buckets);
}
