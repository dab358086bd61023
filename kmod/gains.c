// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Nobody gains a right inside. From there, a set-uid program of the base can be executed by way of a working directory,
 * a descriptor or another process's root directory, and the kernel would start it with the tree's loader. So whoever
 * enters gets no_new_privs, which is handed on to children.
 *
 * The module takes it away again when the task leaves, so that sudo, su and chos work on the base as for anybody. But
 * another may have wanted it meanwhile, to confine a program: by prctl(2), or for seccomp or Landlock, which rely on
 * it. The flag looks the same then. So no_new_privs counts as the module's own ("ours") only where the task had none
 * before and is its process's only thread, and only until somebody else asks for it, which two kprobes see; where they
 * cannot be had it never does. What is not ours stays after leaving, and so does ours under a seccomp filter.
 */
#include "chos.h"

#include <linux/kprobes.h>
#include <linux/moduleparam.h>
#include <linux/prctl.h>
#include <linux/sched/signal.h>

static bool clears = true;
module_param(clears, bool, 0444);
MODULE_PARM_DESC(clears, "leaving clears the no_new_privs that entering has set (N: never; so it is where the kernel lacks kprobes)");

/*
 * The thread count: another thread may be about to restrict all threads of its process. on_landlock() may have been
 * there before this task was in the table.
 */
bool chos_nnp_set(void)
{
	bool had_none = !task_no_new_privs(current);

	task_set_no_new_privs(current);
	return had_none && clears && get_nr_threads(current) == 1;
}

/* A filter that another thread installs for all threads comes under this lock, and sets the flag with it. */
void chos_nnp_clear(void)
{
	spin_lock_irq(&current->sighand->siglock);
#ifdef CONFIG_SECCOMP
	if (!current->seccomp.mode)
#endif
		clear_bit(PFA_NO_NEW_PRIVS, &current->atomic_flags);
	spin_unlock_irq(&current->sighand->siglock);
}

#ifdef CONFIG_KPROBES

static int on_prctl(struct kprobe *probe, struct pt_regs *regs)
{
#ifdef CONFIG_HAVE_FUNCTION_ARG_ACCESS_API
	if ((int)regs_get_kernel_argument(regs, 0) != PR_SET_NO_NEW_PRIVS)
		return 0;
#endif
	chos_table_nnp_is_not_ours(current);
	return 0;
}

/* It can be for all threads. */
static int __maybe_unused on_landlock(struct kprobe *probe, struct pt_regs *regs)
{
	struct task_struct *thread;

	rcu_read_lock();
	for_each_thread(current, thread)
		chos_table_nnp_is_not_ours(thread);
	rcu_read_unlock();
	return 0;
}

/* Before the system calls do anything. Other machines' names for them are not known here: nothing is cleared there. */
static struct kprobe probes[] = {
	{ .symbol_name = "security_task_prctl", .pre_handler = on_prctl },
#ifdef HAVE_LANDLOCK
#if defined(CONFIG_X86_64)
	{ .symbol_name = "__x64_sys_landlock_restrict_self", .pre_handler = on_landlock },
#ifdef CONFIG_IA32_EMULATION
	{ .symbol_name = "__ia32_sys_landlock_restrict_self", .pre_handler = on_landlock },
#endif
#elif defined(CONFIG_ARM64)
	{ .symbol_name = "__arm64_sys_landlock_restrict_self", .pre_handler = on_landlock },
#else
	{ .symbol_name = "sys_landlock_restrict_self", .pre_handler = on_landlock },
#endif
#endif
};

static size_t watching;

static int watch(void)
{
	int err = 0;

	while (watching < ARRAY_SIZE(probes) && !err) {
		err = register_kprobe(&probes[watching]);
		if (err)
			pr_notice("%s cannot be watched: %d\n", probes[watching].symbol_name, err);
		else
			watching++;
	}
	return err;
}

void chos_nnp_unwatch(void)
{
	while (watching)
		unregister_kprobe(&probes[--watching]);
}

#else

static int watch(void)
{
	return -EOPNOTSUPP;
}

void chos_nnp_unwatch(void)
{
}

#endif

void chos_nnp_watch(void)
{
	if (clears && watch()) {
		chos_nnp_unwatch();
		clears = false;
		pr_notice("whoever enters keeps no_new_privs after leaving: this kernel does not show who else asks for it\n");
	}
}
