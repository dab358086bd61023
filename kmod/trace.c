// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/*
 * Tasks come and go. Both tracepoints are always compiled in and cost nothing while nobody is attached.
 *
 * task_newtask comes for every task, also for threads, vfork and the workers of io_uring, when the child can no longer
 * fail and has not run yet; the caller is who made it, whoever its parent will be. sched_process_exit comes for every
 * task that ends. Neither may sleep.
 */
#include "chos.h"
#include "compat.h"

#include <linux/tracepoint.h>
#include <trace/events/sched.h>
#include <trace/events/task.h>

static void on_new_task(void *unused, struct task_struct *child, compat_clone_flags flags)
{
	chos_table_inherit(child);
}

static void on_exit_task(void *unused, COMPAT_EXIT_ARGS)
{
	chos_table_forget(task);
}

static struct probe {
	const char *name;
	void *function;
	struct tracepoint *point;
	bool attached;
} probes[] = {
	/* Before the other: a task that is known must not exit unseen. */
	{ .name = "sched_process_exit", .function = on_exit_task },
	{ .name = "task_newtask", .function = on_new_task },
};

static void find_point(struct tracepoint *point, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(point->name, probes[i].name))
			probes[i].point = point;
}

int chos_trace_start(void)
{
	size_t i;
	int err = 0;

	/* The compiler compares the functions with what these kernels call. */
	check_trace_callback_type_task_newtask(on_new_task);
	check_trace_callback_type_sched_process_exit(on_exit_task);

	for_each_kernel_tracepoint(find_point, NULL);
	for (i = 0; i < ARRAY_SIZE(probes) && !err; i++) {
		err = probes[i].point ? tracepoint_probe_register(probes[i].point, probes[i].function, NULL) : -ENOENT;
		probes[i].attached = !err;
		if (err)
			pr_err("cannot attach to the tracepoint %s: %d\n", probes[i].name, err);
	}
	if (err)
		chos_trace_stop();
	return err;
}

/* When this returns no probe is running. */
void chos_trace_stop(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].attached)
			tracepoint_probe_unregister(probes[i].point, probes[i].function, NULL);
	tracepoint_synchronize_unregister();
}
