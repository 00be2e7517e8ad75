// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-in for vfio_ap: the one lock of all its devices, as the driver's
 * matrix_dev->mdevs_lock is, which every state of the migration series takes
 * to get and set a device's state, for VFIO_DEVICE_GET_INFO, for a reset and
 * for each attribute in sysfs. Who waits for it cannot be killed.
 *
 * The driver holds it for as long as a reset of queues takes, for which there
 * is no limit. Here a number of milliseconds written to the parameter
 * hold_lock_ms does so: the write returns once the lock is held. 0 ends it.
 */

#include <linux/completion.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "standin.h"

DEFINE_MUTEX(standin_lock);

static unsigned int hold_lock_ms;
static DECLARE_COMPLETION(held);
static DECLARE_COMPLETION(let_go);

static void hold(struct work_struct *work)
{
	mutex_lock(&standin_lock);
	complete(&held);
	wait_for_completion_timeout(&let_go, msecs_to_jiffies(hold_lock_ms));
	hold_lock_ms = 0;
	mutex_unlock(&standin_lock);
}
static DECLARE_WORK(hold_work, hold);

static int hold_set(const char *val, const struct kernel_param *kp)
{
	unsigned int ms;
	int ret;

	ret = kstrtouint(val, 0, &ms);
	if (ret)
		return ret;
	complete(&let_go);
	flush_work(&hold_work);
	reinit_completion(&let_go);
	if (!ms)
		return 0;
	hold_lock_ms = ms;
	reinit_completion(&held);
	queue_work(system_long_wq, &hold_work);
	wait_for_completion(&held);
	return 0;
}

static const struct kernel_param_ops hold_ops = {
	.set = hold_set,
	.get = param_get_uint,
};
module_param_cb(hold_lock_ms, &hold_ops, &hold_lock_ms, 0644);
MODULE_PARM_DESC(hold_lock_ms, "hold the lock of all devices for so long");

void standin_lock_exit(void)
{
	complete(&let_go);
	flush_work(&hold_work);
}
