/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/ap-config-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_USEC  (30 * G_TIME_SPAN_MILLISECOND) /* between two attempts, as the tools */
#define STALE_AFTER 120                            /* seconds, of a file that names nobody, as the tools */
#define MODE        0644                           /* whatever the umask is: anybody may see whose it is */

typedef enum {
    LOCK_TAKEN,
    LOCK_FREE, /* nobody has it, and it cannot be taken from here */
    LOCK_HELD, /* somebody else has it */
    LOCK_GIVEN_BACK,
} LockState;

struct ApmigApConfigLock {
    char *path;
    GMutex mutex; /* guards: */
    LockState state;
};

/* --- whose it is --------------------------------------------------------------------------------- */

typedef enum {
    OWNER_NONE, /* there is no file */
    OWNER_SELF,
    OWNER_OTHER,
    OWNER_STALE,
} Owner;

/* The folder is open to all: what is no plain file is not waited for. Returns: -1 */
static int
open_plain(const char *path, struct stat *ret_stat)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && (fstat(fd, ret_stat) < 0 || !S_ISREG(ret_stat->st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

/* Returns: the PID; 0: it has none, or cannot be read */
static pid_t
read_pid(int fd)
{
    char text[32] = "";
    guint64 pid = 0;
    ssize_t length = read(fd, text, sizeof(text) - 1);

    if (length <= 0)
        return 0;
    g_strchomp(text);
    if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &pid, NULL))
        return 0;
    return (pid_t)pid;
}

/* A process of another user cannot be signalled, and is alive. */
static gboolean
is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

static Owner
find_owner(const char *path)
{
    struct stat st = {0};
    int fd = open_plain(path, &st);
    pid_t pid;

    if (fd < 0)
        return errno == ENOENT ? OWNER_NONE : OWNER_OTHER;
    pid = read_pid(fd);
    close(fd);
    if (pid == 0)
        return st.st_mtime < time(NULL) - STALE_AFTER ? OWNER_STALE : OWNER_OTHER;
    if (pid == getpid())
        return OWNER_SELF;
    return is_alive(pid) ? OWNER_OTHER : OWNER_STALE;
}

/* --- taking -------------------------------------------------------------------------------------- */

static gboolean
write_pid(int fd)
{
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    gsize length = strlen(text);

    return fchmod(fd, MODE) == 0 && write(fd, text, length) == (ssize_t)length;
}

/* Returns: (transfer full) (nullable): a file of our own beside @path, with our PID. */
static char *
make_temporary(const char *path)
{
    g_autofree char *temporary =
        g_strdup_printf("%s%05d%02x", path, (int)getpid(), (guint)(time(NULL) & 0xff));
    int fd;
    gboolean written;

    g_unlink(temporary); /* of an earlier process with this PID */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE);
    if (fd < 0)
        return NULL;
    written = write_pid(fd);
    if (close(fd) < 0 || !written) {
        g_unlink(temporary);
        return NULL;
    }
    return g_steal_pointer(&temporary);
}

/* What is stale is taken away by name, so that of two who do that at once one may take away the other's new file: who has
 * it in the end is looked up. */
static LockState
try_to_take(const char *path)
{
    g_autofree char *temporary = make_temporary(path);
    Owner owner = find_owner(path);
    gboolean linked;

    if (temporary == NULL)
        return owner == OWNER_OTHER ? LOCK_HELD : LOCK_FREE;
    /* One of our own that was not given back is of an earlier process with this PID. */
    if ((owner == OWNER_STALE || owner == OWNER_SELF) && g_unlink(path) < 0 && errno != ENOENT) {
        g_unlink(temporary);
        return LOCK_FREE;
    }
    linked = link(temporary, path) == 0;
    g_unlink(temporary);
    if (linked)
        return find_owner(path) == OWNER_SELF ? LOCK_TAKEN : LOCK_HELD;
    return errno == EEXIST ? LOCK_HELD : LOCK_FREE;
}

ApmigApConfigLock *
apmig_ap_config_lock_begin(const char *path, gint64 limit_usec)
{
    ApmigApConfigLock *lock = g_new0(ApmigApConfigLock, 1);
    gint64 until = g_get_monotonic_time() + limit_usec;

    lock->path = g_strdup(path);
    g_mutex_init(&lock->mutex);
    lock->state = try_to_take(path);
    while (lock->state == LOCK_HELD && g_get_monotonic_time() + PAUSE_USEC <= until) {
        g_usleep(PAUSE_USEC);
        lock->state = try_to_take(path);
    }
    return lock;
}

/* --- giving back --------------------------------------------------------------------------------- */

/* Returns: whether nobody else has had it. */
static gboolean
give_back(ApmigApConfigLock *lock)
{
    Owner owner = find_owner(lock->path);

    switch (lock->state) {
    case LOCK_TAKEN:
        if (owner == OWNER_SELF)
            g_unlink(lock->path);
        return owner == OWNER_SELF;
    case LOCK_FREE:
        return owner != OWNER_OTHER;
    case LOCK_HELD:
    case LOCK_GIVEN_BACK:
        break;
    }
    return FALSE;
}

void
apmig_ap_config_lock_drop(ApmigApConfigLock *lock)
{
    g_mutex_lock(&lock->mutex);
    if (lock->state == LOCK_TAKEN) {
        give_back(lock);
        lock->state = LOCK_GIVEN_BACK;
    }
    g_mutex_unlock(&lock->mutex);
}

gboolean
apmig_ap_config_lock_end(ApmigApConfigLock *lock)
{
    gboolean undisturbed;

    g_mutex_lock(&lock->mutex);
    undisturbed = give_back(lock);
    g_mutex_unlock(&lock->mutex);
    g_mutex_clear(&lock->mutex);
    g_free(lock->path);
    g_free(lock);
    return undisturbed;
}
