// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-in for vfio_ap: migration in one piece, with the guest stopped
 * (include/uapi/linux/vfio.h, enum vfio_device_mig_state)
 *
 * The series that is to bring it ("s390/vfio-ap: Add live guest migration
 * support") was read in its versions 1 to 4 of March to July 2026 and in two
 * later states without a number, here A and B, of which B is the newer one.
 *
 * From v3 on leaving RESUMING or STOP_COPY changes the state and nothing else:
 * the session stays usable, as read() and write() never look at the state.
 * That is how it is here unless the parameter sessions_end says otherwise, by
 * which the session ends as in v2. That RESUMING -> STOP fails while data is
 * missing, as the text of the interface demands, no version does; the parameter
 * strict_resuming makes it so. Only a reset and the close of the device end a
 * session in every version.
 */

#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
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
MODULE_PARM_DESC(delay_locked, "a delay holds the lock of all devices (A)");

static bool sessions_end;
module_param(sessions_end, bool, 0644);
MODULE_PARM_DESC(sessions_end, "a session ends with its state (v2)");

static bool strict_resuming;
module_param(strict_resuming, bool, 0644);
MODULE_PARM_DESC(strict_resuming,
		 "RESUMING -> STOP fails while data is missing (the interface)");

static bool set_fails;
module_param(set_fails, bool, 0644);
MODULE_PARM_DESC(set_fails, "a change of state fails, and leaves ERROR");

static unsigned int stream_version = 1;
module_param(stream_version, uint, 0644);
MODULE_PARM_DESC(stream_version, "1: with magic and version (B); 0: as v4, A");

static unsigned int hardware = 0x92000000;
module_param(hardware, uint, 0644);
MODULE_PARM_DESC(hardware, "what a queue is, and is compared with");

/*
 * What travels: B's head, or v4's, which lacks the first two members; then the
 * queues. In the byte order of the host, for there is only one s390.
 */
#define STREAM_MAGIC	0x76666170	/* "vfap" */
#define MASK_WORDS	(STANDIN_NUMBERS / 64)

struct stream_head {
	u32 magic;
	u32 version;
	u32 n_queues;
	u32 reserved;
	u64 control_domains[MASK_WORDS];
};
#define OLD_HEAD_SKIPS	offsetof(struct stream_head, n_queues)

struct stream_queue {
	u64 facilities;
	u16 apqn;
	u8 reserved[6];
};

#define MAX_QUEUES	(STANDIN_NUMBERS * STANDIN_NUMBERS)
#define MAX_STREAM	(sizeof(struct stream_head) + \
			 MAX_QUEUES * sizeof(struct stream_queue))

/* An open data transfer, from its file's beginning to its end. */
struct standin_session {
	struct standin *standin;	/* a reference of vdev's device */
	bool ended;		/* v2: "disabled" */
	bool writing;		/* B: "write_in_progress" */
	bool loaded;
	u32 version;		/* of the stream */
	size_t length;		/* of what is saved */
	u8 *data;
};

static size_t head_length(u32 version)
{
	return sizeof(struct stream_head) - (version ? 0 : OLD_HEAD_SKIPS);
}

/* --- the stream ---------------------------------------------------------- */

/* Number 0 is the leftmost bit, as in AP's masks. */
static void put_mask(u64 *words, const unsigned long *bitmap)
{
	unsigned long bit;

	for_each_set_bit(bit, bitmap, STANDIN_NUMBERS)
		words[bit / 64] |= 1ULL << (63 - bit % 64);
}

static void get_mask(const u64 *words, unsigned long *bitmap)
{
	unsigned int bit;

	for (bit = 0; bit < STANDIN_NUMBERS; bit++)
		if (words[bit / 64] & (1ULL << (63 - bit % 64)))
			__set_bit(bit, bitmap);
}

/* From the configuration to a stream. */
static void describe(struct standin_session *session)
{
	const struct standin_matrix *matrix = &session->standin->matrix;
	struct stream_head head = {
		.magic = STREAM_MAGIC,
		.version = session->version,
	};
	size_t at = head_length(session->version);
	unsigned long adapter, domain;

	for_each_set_bit(adapter, matrix->adapters, STANDIN_NUMBERS) {
		for_each_set_bit(domain, matrix->domains, STANDIN_NUMBERS) {
			struct stream_queue queue = {
				.facilities = hardware,
				.apqn = adapter << 8 | domain,
			};

			memcpy(session->data + at, &queue, sizeof(queue));
			at += sizeof(queue);
			head.n_queues++;
		}
	}
	put_mask(head.control_domains, matrix->control_domains);
	memcpy(session->data,
	       (u8 *)&head + (session->version ? 0 : OLD_HEAD_SKIPS),
	       head_length(session->version));
	session->length = at;
}

/* Returns how long the stream is to become, as far as @received tells. */
static ssize_t expected_length(const struct standin_session *session,
			       size_t received)
{
	size_t length = head_length(session->version);
	struct stream_head head = { 0 };

	memcpy((u8 *)&head + (session->version ? 0 : OLD_HEAD_SKIPS),
	       session->data, min(received, length));
	if (session->version && received >= OLD_HEAD_SKIPS &&
	    (head.magic != STREAM_MAGIC || head.version != session->version))
		return -EINVAL;
	if (received < length)
		return length;
	if (head.n_queues > MAX_QUEUES)
		return -EINVAL;
	return length + head.n_queues * sizeof(struct stream_queue);
}

/*
 * From a whole stream to the configuration, which it replaces: v4 and later.
 * Nobody takes that back when the migration fails afterwards.
 */
static int load(struct standin_session *session, size_t length)
{
	size_t at = head_length(session->version);
	struct standin_matrix matrix = { 0 };
	u64 control_domains[MASK_WORDS];

	memcpy(control_domains, session->data + at - sizeof(control_domains),
	       sizeof(control_domains));
	for (; at < length; at += sizeof(struct stream_queue)) {
		struct stream_queue queue;

		memcpy(&queue, session->data + at, sizeof(queue));
		if (queue.facilities != hardware)
			return -EINVAL;
		__set_bit(queue.apqn >> 8, matrix.adapters);
		__set_bit(queue.apqn & 0xff, matrix.domains);
	}
	get_mask(control_domains, matrix.control_domains);
	session->standin->matrix = matrix;
	session->loaded = true;
	return 0;
}

/* --- sessions ------------------------------------------------------------ */

static int delay(unsigned int ms)
{
	if (!delay_uninterruptible)
		return msleep_interruptible(ms) ? -ERESTARTSYS : 0;
	if (ms)
		msleep(ms);
	return 0;
}

/* With the lock held, which is given up meanwhile where it may be. */
static int delay_transfer(unsigned int ms)
{
	bool locked = READ_ONCE(delay_locked);
	int ret;

	if (!ms)
		return 0;
	if (!locked)
		mutex_unlock(&standin_lock);
	ret = delay(ms);
	if (!locked)
		mutex_lock(&standin_lock);
	return ret;
}

/* What reading comes to; the state is not looked at (v3 and later). */
static int check_read(const struct standin_session *session)
{
	if (session->ended)
		return -ENODEV;
	return session->standin->saving == session ? 0 : -EINVAL;
}

/* In this order, with the state not looked at (v3 and later). */
static int check_write(const struct standin_session *session)
{
	if (session->ended)
		return -EIO;
	if (!session->standin->opened)
		return -ENODEV;
	return session->standin->loading == session ? 0 : -ENXIO;
}

static ssize_t send(struct standin_session *session, struct file *file,
		    char __user *buf, size_t count)
{
	loff_t at = file->f_pos;

	count = min_t(size_t, count, session->length - at);
	file->f_pos += count;	/* A and B: before it is copied */
	if (copy_to_user(buf, session->data + at, count))
		return -EFAULT;
	return count;
}

static ssize_t session_read(struct file *file, char __user *buf, size_t count,
			    loff_t *pos)
{
	struct standin_session *session = file->private_data;
	ssize_t ret;

	if (pos) /* it is a stream: pread() */
		return -ESPIPE;
	mutex_lock(&standin_lock);
	ret = check_read(session);
	if (!ret)
		ret = delay_transfer(save_delay_ms);
	if (!ret)
		ret = check_read(session);
	if (!ret)
		ret = send(session, file, buf, count);
	mutex_unlock(&standin_lock);
	return ret;
}

static ssize_t receive(struct standin_session *session, struct file *file,
		       const char __user *buf, size_t count)
{
	loff_t at = file->f_pos;
	ssize_t expected;
	int ret;

	if (count > MAX_STREAM - at)
		return -EINVAL;
	file->f_pos += count;	/* A and B: before it is copied */
	if (copy_from_user(session->data + at, buf, count))
		return -EFAULT;
	expected = expected_length(session, file->f_pos);
	if (expected < 0)
		return expected;
	if (file->f_pos > expected)
		return -EINVAL;
	if (file->f_pos == expected) {
		ret = load(session, expected);
		if (ret)
			return ret;
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
	if (!count)
		return -EINVAL;
	mutex_lock(&standin_lock);
	ret = check_write(session);
	if (!ret && session->writing)
		ret = -EBUSY;	/* B */
	if (!ret) {
		session->writing = true;
		ret = delay_transfer(load_delay_ms);
		if (!ret)
			ret = check_write(session);
		if (!ret)
			ret = receive(session, file, buf, count);
		session->writing = false;
	}
	mutex_unlock(&standin_lock);
	return ret;
}

static int session_release(struct inode *inode, struct file *file)
{
	struct standin_session *session = file->private_data;
	struct standin *standin = session->standin;

	mutex_lock(&standin_lock);
	if (standin->saving == session)
		standin->saving = NULL;
	if (standin->loading == session)
		standin->loading = NULL;
	standin->n_files--;
	wake_up(&standin->files_gone);
	mutex_unlock(&standin_lock);

	put_device(&standin->vdev.device);
	kvfree(session->data);
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

static struct standin_session *new_session(struct standin *standin)
{
	struct standin_session *session;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return NULL;
	session->data = kvzalloc(MAX_STREAM, GFP_KERNEL_ACCOUNT);
	if (!session->data) {
		kfree(session);
		return NULL;
	}
	session->standin = standin;
	session->version = stream_version;
	return session;
}

/* Its file has the name that A and B give it; v2's was "vfio_ap_migf". */
static struct file *begin_session(struct standin *standin, bool saving)
{
	struct standin_session *session = new_session(standin);
	struct file *file;

	if (!session)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile("vfio_ap_mig_file",
				  saving ? &saving_fops : &loading_fops,
				  session, saving ? O_RDONLY : O_WRONLY);
	if (IS_ERR(file)) {
		kvfree(session->data);
		kfree(session);
		return file;
	}
	stream_open(file->f_inode, file);
	get_device(&standin->vdev.device);
	standin->n_files++;
	if (saving) {
		describe(session);
		standin->saving = session;
	} else {
		standin->loading = session;
	}
	return file;
}

/* v2: vfio_ap_release_mig_files() */
static void end_session(struct standin_session **session)
{
	if (*session)
		(*session)->ended = true;
	*session = NULL;
}

/* --- states -------------------------------------------------------------- */

static bool is_loaded(struct standin *standin)
{
	return !standin->loading || standin->loading->loaded;
}

/* One arc of the state machine. Returns the file of a new session, or NULL. */
static struct file *step(struct standin *standin,
			 enum vfio_device_mig_state next)
{
	if (next == VFIO_DEVICE_STATE_STOP_COPY)
		return begin_session(standin, true);
	if (next == VFIO_DEVICE_STATE_RESUMING)
		return begin_session(standin, false);
	if (standin->state == VFIO_DEVICE_STATE_RESUMING && strict_resuming &&
	    !is_loaded(standin))
		return ERR_PTR(-EINVAL);
	if (sessions_end) {
		end_session(&standin->saving);
		end_session(&standin->loading);
	}
	return NULL;
}

/* From ERROR it succeeds and does nothing: v4 and later. */
static struct file *set_state(struct standin *standin,
			      enum vfio_device_mig_state new_state)
{
	enum vfio_device_mig_state next;
	struct file *file = NULL;
	int ret;

	while (!file && standin->state != new_state &&
	       standin->state != VFIO_DEVICE_STATE_ERROR) {
		if (set_fails) {
			standin->state = VFIO_DEVICE_STATE_ERROR;
			return ERR_PTR(-EIO);
		}
		ret = vfio_mig_get_next_state(&standin->vdev, standin->state,
					      new_state, &next);
		file = ret ? ERR_PTR(ret) : step(standin, next);
		if (!IS_ERR(file))
			standin->state = next;
	}
	return file;
}

static struct file *standin_set_state(struct vfio_device *vdev,
				      enum vfio_device_mig_state new_state)
{
	struct standin *standin = to_standin(vdev);
	struct file *file;
	bool astray;

	mutex_lock(&standin_lock);
	file = set_state(standin, new_state);
	/* A session on the way to elsewhere: the arcs do not pass one. */
	astray = !IS_ERR_OR_NULL(file) && standin->state != new_state;
	mutex_unlock(&standin_lock);
	if (WARN_ON(astray)) {
		fput(file);
		file = ERR_PTR(-EINVAL);
	}
	return file;
}

static int standin_get_state(struct vfio_device *vdev,
			     enum vfio_device_mig_state *state)
{
	mutex_lock(&standin_lock);
	*state = to_standin(vdev)->state;
	mutex_unlock(&standin_lock);
	return 0;
}

static int standin_get_data_size(struct vfio_device *vdev,
				 unsigned long *stop_copy_length)
{
	struct standin_matrix *matrix = &to_standin(vdev)->matrix;

	mutex_lock(&standin_lock);
	*stop_copy_length = head_length(stream_version) +
		(size_t)bitmap_weight(matrix->adapters, STANDIN_NUMBERS) *
		bitmap_weight(matrix->domains, STANDIN_NUMBERS) *
		sizeof(struct stream_queue);
	mutex_unlock(&standin_lock);
	return 0;
}

const struct vfio_migration_ops standin_migration_ops = {
	.migration_set_state = standin_set_state,
	.migration_get_state = standin_get_state,
	.migration_get_data_size = standin_get_data_size,
};

void standin_migration_init(struct standin *standin)
{
	init_waitqueue_head(&standin->files_gone);
	standin->state = VFIO_DEVICE_STATE_RUNNING;
	standin->vdev.migration_flags = VFIO_MIGRATION_STOP_COPY;
	standin->vdev.mig_ops = &standin_migration_ops;
}

/* Ends all sessions, in every version. With the lock held. */
void standin_migration_reset(struct standin *standin)
{
	standin->saving = NULL;
	standin->loading = NULL;
	standin->state = VFIO_DEVICE_STATE_RUNNING;
}

/*
 * An open file keeps the device registered, as an open device does. A signal
 * ends the wait, which does no harm: a file has a reference of its own.
 */
void standin_migration_wait(struct standin *standin)
{
	if (wait_event_interruptible(standin->files_gone,
				     !READ_ONCE(standin->n_files)))
		pr_info("vfio_ap_standin: removed with a session open\n");
}
