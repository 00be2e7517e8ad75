// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-in for vfio_ap: migration in one piece, with the guest stopped
 * (include/uapi/linux/vfio.h, enum vfio_device_mig_state)
 *
 * The data is the configuration of the source, which the destination must have
 * too: it is compared when its last byte is written. Leaving STOP_COPY or
 * RESUMING, a reset and a close end the session, whose file then answers
 * ENODEV. RESUMING -> STOP succeeds also when data is missing, which the text
 * of the interface forbids and the vfio_ap series does; the parameter
 * strict_resuming makes it fail.
 */

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "standin.h"

static unsigned int save_delay_ms;
module_param(save_delay_ms, uint, 0644);
MODULE_PARM_DESC(save_delay_ms, "how long each read() of saved data takes");

static unsigned int load_delay_ms;
module_param(load_delay_ms, uint, 0644);
MODULE_PARM_DESC(load_delay_ms, "how long each write() of data to load takes");

static bool delay_uninterruptible;
module_param(delay_uninterruptible, bool, 0644);
MODULE_PARM_DESC(delay_uninterruptible, "a delay cannot be interrupted");

static bool delay_locked;
module_param(delay_locked, bool, 0644);
MODULE_PARM_DESC(delay_locked, "no change of state can end a delay early");

static bool strict_resuming;
module_param(strict_resuming, bool, 0644);
MODULE_PARM_DESC(strict_resuming,
		 "RESUMING -> STOP fails while data is missing");

#define RECORD_MAGIC	0x53415056	/* "VPAS" */
#define RECORD_VERSION	1
#define MASK_WORDS	(STANDIN_NUMBERS / 64)

/* What travels. */
struct standin_record {
	__le32 magic;
	__le32 version;
	__le64 length;
	__le64 adapters[MASK_WORDS];
	__le64 domains[MASK_WORDS];
	__le64 control_domains[MASK_WORDS];
};

/*
 * An open data transfer. It belongs to its file, of which the device holds a
 * reference until it ends the session; from then on @standin may be gone.
 */
struct standin_session {
	struct file *file;
	struct standin *standin;
	struct mutex lock;	/* protects all below */
	bool ended;
	struct standin_record record;
};

static void put_mask(__le64 *words, const unsigned long *bitmap)
{
	u64 values[MASK_WORDS];
	int n;

	bitmap_to_arr64(values, bitmap, STANDIN_NUMBERS);
	for (n = 0; n < MASK_WORDS; n++)
		words[n] = cpu_to_le64(values[n]);
}

static void describe(struct standin *standin, struct standin_record *record)
{
	record->magic = cpu_to_le32(RECORD_MAGIC);
	record->version = cpu_to_le32(RECORD_VERSION);
	record->length = cpu_to_le64(sizeof(*record));
	mutex_lock(&standin->matrix_lock);
	put_mask(record->adapters, standin->matrix.adapters);
	put_mask(record->domains, standin->matrix.domains);
	put_mask(record->control_domains, standin->matrix.control_domains);
	mutex_unlock(&standin->matrix_lock);
}

static int delay(unsigned int ms)
{
	if (!delay_uninterruptible)
		return msleep_interruptible(ms) ? -ERESTARTSYS : 0;
	if (ms)
		msleep(ms);
	return 0;
}

/* Waits @ms, and returns 0 with the lock of a session that goes on. */
static int begin_transfer(struct standin_session *session, unsigned int ms)
{
	bool locked = READ_ONCE(delay_locked);
	int ret = 0;

	if (!locked)
		ret = delay(ms);
	if (ret)
		return ret;

	mutex_lock(&session->lock);
	if (locked)
		ret = delay(ms);
	if (!ret && session->ended)
		ret = -ENODEV;
	if (ret)
		mutex_unlock(&session->lock);
	return ret;
}

static ssize_t session_read(struct file *file, char __user *buf, size_t count,
			    loff_t *pos)
{
	struct standin_session *session = file->private_data;
	ssize_t ret;

	if (pos) /* it is a stream: pread() */
		return -ESPIPE;
	ret = begin_transfer(session, save_delay_ms);
	if (ret)
		return ret;

	count = min_t(size_t, count, sizeof(session->record) - file->f_pos);
	ret = -EFAULT;
	if (!copy_to_user(buf, (u8 *)&session->record + file->f_pos, count)) {
		file->f_pos += count;
		ret = count;
	}
	mutex_unlock(&session->lock);
	return ret;
}

static ssize_t receive(struct standin_session *session, const char __user *buf,
		       size_t count)
{
	struct standin_record own = { 0 };
	loff_t *received = &session->file->f_pos;

	if (count > sizeof(session->record) - *received)
		return -EINVAL;
	if (copy_from_user((u8 *)&session->record + *received, buf, count))
		return -EFAULT;
	*received += count;
	if (*received == sizeof(session->record)) {
		describe(session->standin, &own);
		if (memcmp(&own, &session->record, sizeof(own)))
			return -EINVAL;
	}
	return count;
}

static ssize_t session_write(struct file *file, const char __user *buf,
			     size_t count, loff_t *pos)
{
	struct standin_session *session = file->private_data;
	ssize_t ret;

	if (pos)
		return -ESPIPE;
	ret = begin_transfer(session, load_delay_ms);
	if (ret)
		return ret;

	ret = receive(session, buf, count);
	mutex_unlock(&session->lock);
	return ret;
}

static int session_release(struct inode *inode, struct file *file)
{
	struct standin_session *session = file->private_data;

	mutex_destroy(&session->lock);
	kfree(session);
	return 0;
}

static const struct file_operations saving_fops = {
	.owner = THIS_MODULE,
	.read = session_read,
	.release = session_release,
};

static const struct file_operations loading_fops = {
	.owner = THIS_MODULE,
	.write = session_write,
	.release = session_release,
};

static struct file *begin_session(struct standin *standin, bool saving)
{
	struct standin_session *session;
	struct file *file;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile("vfio_ap_mig",
				  saving ? &saving_fops : &loading_fops,
				  session, saving ? O_RDONLY : O_WRONLY);
	if (IS_ERR(file)) {
		kfree(session);
		return file;
	}
	stream_open(file->f_inode, file);
	mutex_init(&session->lock);
	session->file = file;
	session->standin = standin;
	if (saving)
		describe(standin, &session->record);
	standin->session = session;
	return get_file(file);
}

static void end_session(struct standin *standin)
{
	struct standin_session *session = standin->session;

	if (!session)
		return;
	mutex_lock(&session->lock);
	session->ended = true;
	mutex_unlock(&session->lock);
	standin->session = NULL;
	fput(session->file);
}

static bool is_loaded(struct standin *standin)
{
	struct standin_session *session = standin->session;
	bool loaded;

	mutex_lock(&session->lock);
	loaded = session->file->f_pos == sizeof(session->record);
	mutex_unlock(&session->lock);
	return loaded;
}

/* One arc of the state machine. Returns the file of a new session, or NULL. */
static struct file *step(struct standin *standin,
			 enum vfio_device_mig_state next)
{
	enum vfio_device_mig_state state = standin->state;

	if (next == VFIO_DEVICE_STATE_STOP_COPY)
		return begin_session(standin, true);
	if (next == VFIO_DEVICE_STATE_RESUMING)
		return begin_session(standin, false);
	if (state == VFIO_DEVICE_STATE_RESUMING && strict_resuming &&
	    !is_loaded(standin))
		return ERR_PTR(-EINVAL);
	end_session(standin);
	return NULL;
}

static struct file *standin_set_state(struct vfio_device *vdev,
				      enum vfio_device_mig_state new_state)
{
	struct standin *standin = to_standin(vdev);
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	mutex_lock(&standin->state_lock);
	while (!file && standin->state != new_state) {
		ret = vfio_mig_get_next_state(vdev, standin->state, new_state,
					      &next);
		file = ret ? ERR_PTR(ret) : step(standin, next);
		if (!IS_ERR(file))
			standin->state = next;
	}
	/* A session on the way to elsewhere: the arcs do not pass one. */
	if (!IS_ERR_OR_NULL(file) && WARN_ON(standin->state != new_state)) {
		fput(file);
		file = ERR_PTR(-EINVAL);
	}
	mutex_unlock(&standin->state_lock);
	return file;
}

static int standin_get_state(struct vfio_device *vdev,
			     enum vfio_device_mig_state *state)
{
	struct standin *standin = to_standin(vdev);

	mutex_lock(&standin->state_lock);
	*state = standin->state;
	mutex_unlock(&standin->state_lock);
	return 0;
}

static int standin_get_data_size(struct vfio_device *vdev,
				 unsigned long *stop_copy_length)
{
	*stop_copy_length = sizeof(struct standin_record);
	return 0;
}

const struct vfio_migration_ops standin_migration_ops = {
	.migration_set_state = standin_set_state,
	.migration_get_state = standin_get_state,
	.migration_get_data_size = standin_get_data_size,
};

void standin_migration_init(struct standin *standin)
{
	mutex_init(&standin->state_lock);
	standin->state = VFIO_DEVICE_STATE_RUNNING;
	standin->vdev.migration_flags = VFIO_MIGRATION_STOP_COPY;
	standin->vdev.mig_ops = &standin_migration_ops;
}

void standin_migration_reset(struct standin *standin)
{
	mutex_lock(&standin->state_lock);
	end_session(standin);
	standin->state = VFIO_DEVICE_STATE_RUNNING;
	mutex_unlock(&standin->state_lock);
}
