// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0
/* Loads and unloads the module. Its parameters are in /sys/module/chos/parameters. */
#include "chos.h"

#include <linux/moduleparam.h>

static unsigned int max = 16384;
module_param(max, uint, 0444);
MODULE_PARM_DESC(max, "processes with an environment that the table is made for; more are slower, none is refused");

bool chos_debug;
module_param_named(debug, chos_debug, bool, 0644);
MODULE_PARM_DESC(debug, "log what is written to the files of /proc/chos");

static int never_set(const char *value, const struct kernel_param *param)
{
	return -EPERM;
}

static int get_number(char *buffer, const struct kernel_param *param)
{
	unsigned int (*number)(void) = param->arg;

	return sprintf(buffer, "%u\n", number());
}

static const struct kernel_param_ops number_ops = {
	.set = never_set,
	.get = get_number,
};
module_param_cb(processes, &number_ops, chos_table_count, 0444);
MODULE_PARM_DESC(processes, "(read only) tasks with an entry in the table");
module_param_cb(lost, &number_ops, chos_table_lost, 0444);
MODULE_PARM_DESC(lost, "(read only) tasks whose entry was lost for want of memory");

static int __init chos_init(void)
{
	int err = chos_table_init(max);

	if (err)
		return err;
	chos_nnp_watch();
	err = chos_trace_start();
	if (err)
		goto no_trace;
	err = chos_fs_init();
	if (err)
		goto no_fs;
	pr_info("version " CHOS_VERSION "; mount -t chosfs chosfs /proc/chos\n");
	return 0;

no_fs:
	chos_trace_stop();
no_trace:
	chos_nnp_unwatch();
	chos_table_exit();
	return err;
}

/* Nothing is mounted or open, and no task has an entry: each holds a reference on the module. */
static void __exit chos_exit(void)
{
	chos_fs_exit();
	chos_trace_stop();
	chos_nnp_unwatch();
	chos_table_exit();
	chos_paths_clear();
}

module_init(chos_init);
module_exit(chos_exit);
MODULE_LICENSE("Dual BSD/GPL");
MODULE_VERSION(CHOS_VERSION);
MODULE_DESCRIPTION("Each process tree in the OS tree of its user's choice");
