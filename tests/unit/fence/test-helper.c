/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/device.h"
#include "fence/world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- what it does --------------------------------------------------------------------------------- */

static void
test_inspect(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.request.verb = APMIG_FENCE_INSPECT;
    f.request.pid = 0;
    f.request.start_time = 0;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
    g_assert_true(f.reply.held_data);
    g_assert_cmpint(f.reply.pid, ==, f.guest.pid);
    g_assert_cmpuint(f.reply.start_time, ==, f.guest.start_time);
    g_assert_cmpint(f.reply.frozen_usec, ==, 0);
    assert_untouched(&f);
    tear_down(&f);
}

/* The driver may be what keeps QEMU: it is not asked. */
static void
test_look(void)
{
    Fixture f;

    set_up(&f);
    f.request.verb = APMIG_FENCE_LOOK;
    f.request.direction = APMIG_FENCE_OUT;
    f.request.pid = 0;
    f.request.start_time = 0;
    f.device[0]->get_msec = 10000;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_false(f.reply.held_data);
    set_descriptor(&f, GUEST_SESSION_FD, "anon_inode:mtty_mig", SAVING);
    f.device[0]->state = VFIO_DEVICE_STATE_STOP_COPY;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_cmpint(f.reply.pid, ==, f.guest.pid);
    g_assert_cmpint(f.reply.frozen_usec, ==, 0);
    g_assert_cmpuint(f.device[0]->n_gets, ==, 0);
    assert_untouched(&f);
    tear_down(&f);
}

static void
test_fence_incoming(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_RESUMING, APMIG_VFIO_STOP);
    g_assert_true(f.reply.held_data);
    g_assert_cmpint(f.reply.driver, ==, APMIG_DRIVER_OTHER);
    g_assert_cmpint(f.reply.frozen_usec, ==, 0);
    g_assert_cmpint(f.reply.error_number, ==, 0);
    g_assert_cmpuint(f.device[0]->n_sets, ==, 1);
    g_assert_cmpuint(f.device[0]->state, ==, VFIO_DEVICE_STATE_STOP);
    g_assert_false(f.device[0]->stopped);
    g_assert_true(guest_comes_back(&f.guest));
    /* once more: it is fenced */
    f.device[0]->n_sets = 0;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_STOP, APMIG_VFIO_STOP);
    assert_untouched(&f);
    tear_down(&f);
}

static void
test_fence_outgoing(void)
{
    const struct {
        ApmigVfioState before, after;
    } cases[] = {{APMIG_VFIO_PRE_COPY, APMIG_VFIO_RUNNING},
                 {APMIG_VFIO_PRE_COPY_P2P, APMIG_VFIO_STOP},
                 {APMIG_VFIO_STOP_COPY, APMIG_VFIO_STOP}};
    Fixture f;

    set_up(&f);
    f.request.direction = APMIG_FENCE_OUT;
    set_descriptor(&f, GUEST_SESSION_FD, "anon_inode:mtty_mig", SAVING);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        f.device[0]->state = cases[i].before;
        f.device[0]->n_sets = 0;
        ask(&f);
        assert_reply(&f, APMIG_FENCE_DONE, cases[i].before, cases[i].after);
        g_assert_cmpuint(f.device[0]->n_sets, ==, 1);
        g_assert_false(f.device[0]->stopped);
        g_assert_true(guest_comes_back(&f.guest));
    }
    tear_down(&f);
}

/* A guest on a device without pre-copy is not even frozen while its memory is transferred. */
static void
test_nothing_to_do(void)
{
    Fixture f;

    set_up(&f);
    f.request.direction = APMIG_FENCE_OUT;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_RUNNING, APMIG_VFIO_RUNNING);
    g_assert_cmpint(f.reply.frozen_usec, ==, 0);
    assert_untouched(&f);
    f.request.direction = APMIG_FENCE_IN; /* before the load has begun, or when the guest runs here */
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_RUNNING, APMIG_VFIO_RUNNING);
    assert_untouched(&f);
    tear_down(&f);
}

/* Loaded, and paused: it is RESUMING, but the session is closed. What stands in for one makes no difference. */
static void
test_loaded_already(void)
{
    Fixture f;

    for (int verb = APMIG_FENCE_FENCE; verb <= APMIG_FENCE_KILL_INCOMING; verb++) {
        set_up(&f);
        f.device[0]->state = VFIO_DEVICE_STATE_RESUMING;
        f.request.verb = (ApmigFenceVerb)verb;
        ask(&f);
        assert_reply(&f, APMIG_FENCE_NOT_ABORTABLE, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
        g_assert_false(f.reply.held_data);
        set_descriptor(&f, GUEST_SESSION_FD, "anon_inode:vfio_stream", LOADING);
        ask(&f);
        assert_reply(&f, APMIG_FENCE_NOT_ABORTABLE, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
        g_assert_nonnull(strstr(f.reply.message, "\"vfio_stream\""));
        set_descriptor(&f, GUEST_SESSION_FD, "anon_inode:vfio_ap_mig_file", "pos:\t0\n");
        ask(&f);
        assert_reply(&f, APMIG_FENCE_NOT_ABORTABLE, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
        assert_untouched(&f);
        tear_down(&f);
    }
}

static void
make_end(const Fixture *f)
{
    g_autofree char *end = path_of(f, "end");

    write_file(end, "");
}

static void
await_hang(const Fixture *f)
{
    g_autofree char *hangs = path_of(f, "end.hangs");

    for (int i = 0; i < 10000 && !g_file_test(hangs, G_FILE_TEST_EXISTS); i++)
        g_usleep(1000);
    g_assert_true(g_file_test(hangs, G_FILE_TEST_EXISTS));
}

/* It was so a moment ago; it is what is found in the freeze that counts. */
static void
test_moves_on(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.request.verb = APMIG_FENCE_KILL_INCOMING;
    f.failpoint = "hang:qemu-to-be-frozen";
    start_helper(&f);
    g_assert_cmpint(send(f.connection, &f.request, sizeof f.request, MSG_NOSIGNAL), >, 0);
    await_hang(&f);
    unset_descriptor(&f, GUEST_SESSION_FD);
    make_end(&f);
    g_assert_cmpint(recv(f.connection, &f.reply, sizeof f.reply, 0), ==, sizeof f.reply);
    end_helper(&f);
    g_assert_cmpint(f.reply.result, !=, APMIG_FENCE_DONE);
    g_assert_cmpuint(f.device[0]->n_gets, ==, 0);
    assert_untouched(&f);
    tear_down(&f);
}

/* The session ends while its device is being stopped: the guest may run. */
static void
test_stop_is_taken_back(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.device[0]->set_msec = 400;
    start_helper(&f);
    g_assert_cmpint(send(f.connection, &f.request, sizeof f.request, MSG_NOSIGNAL), >, 0);
    for (int i = 0; i < 1000 && !f.device[0]->in_set; i++)
        g_usleep(1000);
    g_assert_true(f.device[0]->in_set);
    unset_descriptor(&f, GUEST_SESSION_FD);
    g_assert_cmpint(recv(f.connection, &f.reply, sizeof f.reply, 0), ==, sizeof f.reply);
    end_helper(&f);
    assert_reply(&f, APMIG_FENCE_NOT_ABORTABLE, APMIG_VFIO_RESUMING, APMIG_VFIO_RUNNING);
    g_assert_cmpuint(f.device[0]->n_sets, ==, 2);
    g_assert_cmpuint(f.device[0]->state, ==, VFIO_DEVICE_STATE_RUNNING);
    tear_down(&f);
}

/* Also when the driver takes so long that nobody waits for it any more. */
static void
test_late_stop_is_taken_back(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.device[0]->set_msec = 4000; /* three seconds to end the session in */
    send_packet(&f, &f.request, sizeof f.request);
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_FAILED);
    g_assert_cmpint(f.reply.error_number, ==, ETIMEDOUT);
    unset_descriptor(&f, GUEST_SESSION_FD);
    for (int i = 0; i < 20000 && (f.device[0]->n_sets < 2 || f.device[0]->in_set); i++)
        g_usleep(1000);
    g_assert_cmpuint(f.device[0]->last_set, ==, VFIO_DEVICE_STATE_RUNNING);
    g_assert_cmpuint(f.device[0]->state, ==, VFIO_DEVICE_STATE_RUNNING);
    tear_down(&f);
}

/* Its session outlives its state: the state is left as it is, on either side. */
static void
test_vfio_ap(void)
{
    Fixture f;

    set_up(&f);
    be_vfio_ap(&f);
    be_loading(&f);
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
    g_assert_cmpint(f.reply.driver, ==, APMIG_DRIVER_VFIO_AP);
    g_assert_nonnull(strstr(f.reply.message, "keeps its data session open"));
    f.device[0]->state = VFIO_DEVICE_STATE_STOP_COPY;
    set_descriptor(&f, GUEST_SESSION_FD, "anon_inode:vfio_ap_mig_file", SAVING);
    f.request.direction = APMIG_FENCE_OUT;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_STOP_COPY, APMIG_VFIO_STOP_COPY);
    assert_untouched(&f);
    tear_down(&f);
}

static void
test_driver_refuses(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.device[0]->set_errno = EINVAL;
    f.device[0]->state_after_failure = VFIO_DEVICE_STATE_RESUMING;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
    g_assert_cmpint(f.reply.error_number, ==, EINVAL);
    g_assert_true(guest_comes_back(&f.guest));
    f.device[0]->state_after_failure = VFIO_DEVICE_STATE_ERROR;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_RESUMING, APMIG_VFIO_ERROR);
    f.device[0]->state = VFIO_DEVICE_STATE_RESUMING;
    f.device[0]->set_errno = 0;
    f.device[0]->ignores_set = TRUE;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
    g_assert_cmpuint(f.device[0]->n_sets, ==, 3);
    g_assert_true(guest_comes_back(&f.guest));
    tear_down(&f);
}

static void
assert_killed(Fixture *f)
{
    int status;

    g_assert_cmpint(waitpid(f->guest.pid, &status, 0), ==, f->guest.pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    f->guest.pid = 0;
    g_assert_cmpuint(f->device[0]->n_sets, ==, 0);
}

/* The open session is the proof, whatever the state; the driver is not asked, and may be busy. */
static void
test_kill_incoming(void)
{
    const guint32 states[] = {VFIO_DEVICE_STATE_RESUMING, VFIO_DEVICE_STATE_STOP, VFIO_DEVICE_STATE_RUNNING,
                              VFIO_DEVICE_STATE_ERROR};
    Fixture f;

    for (guint i = 0; i < 2 * G_N_ELEMENTS(states); i++) {
        set_up(&f);
        be_loading(&f);
        if (i % 2)
            be_vfio_ap(&f);
        f.device[0]->state = states[i / 2];
        f.device[0]->get_msec = 10000;
        f.request.verb = APMIG_FENCE_KILL_INCOMING;
        ask(&f);
        assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
        g_assert_cmpint(f.reply.frozen_usec, >, 0);
        g_assert_cmpint(f.reply.frozen_usec, <=, 100 * 1000);
        assert_killed(&f);
        g_assert_cmpuint(f.device[0]->n_gets, ==, 0);
        tear_down(&f);
    }
}

/* Without a session it is too early as well as too late: the state tells. */
static void
test_kill_without_session(void)
{
    Fixture f;

    set_up(&f);
    be_vfio_ap(&f);
    f.request.verb = APMIG_FENCE_KILL_INCOMING;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOTHING_TO_DO, APMIG_VFIO_RUNNING, APMIG_VFIO_RUNNING);
    f.device[0]->state = VFIO_DEVICE_STATE_RESUMING;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_NOT_ABORTABLE, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
    g_assert_cmpint(f.reply.frozen_usec, ==, 0);
    assert_untouched(&f);
    tear_down(&f);
}

static void
test_busy_driver(void)
{
    g_autofree char *lock = NULL;
    Fixture f;
    int fd;

    set_up(&f);
    be_vfio_ap(&f);
    be_loading(&f);
    f.device[0]->get_msec = 10000;
    f.request.verb = APMIG_FENCE_INSPECT;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_nonnull(strstr(f.reply.message, "has not answered within 1000 ms"));
    g_assert_cmpint(f.reply.pid, ==, f.guest.pid);
    g_assert_cmpint(f.reply.driver, ==, APMIG_DRIVER_VFIO_AP); /* as sysfs has it */
    g_assert_false(f.device[0]->stopped);
    /* whoever asked before is still there */
    f.device[0]->get_msec = 0;
    lock = path_of(&f, MDEV);
    fd = open(lock, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(flock(fd, LOCK_EX), ==, 0);
    f.device[0]->n_gets = 0;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_nonnull(strstr(f.reply.message, "none other is sent"));
    g_assert_cmpuint(f.device[0]->n_gets, ==, 0);
    close(fd);
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_RESUMING, APMIG_VFIO_RESUMING);
    assert_untouched(&f);
    tear_down(&f);
}

/* --- what it does not believe ---------------------------------------------------------------------- */

static void
test_wrong_direction(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    for (int verb = APMIG_FENCE_FENCE; verb <= APMIG_FENCE_KILL_INCOMING; verb++) {
        f.request.verb = (ApmigFenceVerb)verb;
        f.request.direction = APMIG_FENCE_OUT;
        ask(&f);
        g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_REFUSED);
        assert_untouched(&f);
    }
    f.request.verb = APMIG_FENCE_FENCE;
    f.request.direction = APMIG_FENCE_IN;
    f.device[0]->state = VFIO_DEVICE_STATE_STOP_COPY;
    set_descriptor(&f, GUEST_SESSION_FD, "anon_inode:vfio_ap_mig_file", SAVING);
    ask(&f);
    assert_reply(&f, APMIG_FENCE_REFUSED, APMIG_VFIO_STOP_COPY, APMIG_VFIO_STOP_COPY);
    assert_untouched(&f);
    tear_down(&f);
}

static void
test_not_incoming(void)
{
    static const char *const args[][8] = {
        {"-name", "guest=g1", "-uuid", UUID, "-S", NULL},
        {"-name", "guest=g1", "-uuid", UUID, "-incoming", "defer", NULL},
    };

    for (guint i = 0; i < G_N_ELEMENTS(args); i++) {
        Fixture f;

        set_up_with(&f, args[i]);
        be_loading(&f);
        f.request.verb = APMIG_FENCE_KILL_INCOMING;
        assert_refused(&f, "\"-incoming\"");
        tear_down(&f);
    }
}

static void
test_wrong_process(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.request.start_time++;
    assert_refused(&f, "has been used again");
    f.request.start_time--;
    g_strlcpy(f.request.uuid, OTHER, sizeof f.request.uuid);
    assert_refused(&f, "its command line does not name it");
    g_strlcpy(f.request.uuid, UUID, sizeof f.request.uuid);
    f.request.pid = 4194303;
    assert_refused(&f, "There is no process");
    f.request.pid = f.guest.pid;
    set_pid_file(&f, getpid());
    assert_refused(&f, "According to libvirt's pid file");
    set_pid_file(&f, 0);
    assert_refused(&f, "holds no pid");
    g_strlcpy(f.request.name, "g2", sizeof f.request.name);
    assert_refused(&f, "could not be read");
    g_strlcpy(f.request.name, "g1", sizeof f.request.name);
    set_pid_file(&f, f.guest.pid); /* and all of it is right again */
    f.request.verb = APMIG_FENCE_INSPECT;
    ask(&f);
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_DONE);
    tear_down(&f);
}

/* The UUID counts as the argument of -uuid only. */
static void
test_uuid_elsewhere(void)
{
    static const char *const args[] = {"-name", UUID, "-uuid", OTHER, "-S", "-incoming", "defer", NULL};
    Fixture f;

    set_up_with(&f, args);
    be_loading(&f);
    assert_refused(&f, "its command line does not name it");
    tear_down(&f);
}

static void
test_process_gone(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    kill(f.guest.pid, SIGKILL);
    g_usleep(50 * 1000); /* not waited for: a zombie */
    ask(&f);
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_REFUSED);
    g_assert_cmpuint(f.device[0]->n_sets, ==, 0);
    tear_down(&f);
}

static void
test_wrong_device(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    g_strlcpy(f.request.device, OTHER, sizeof f.request.device);
    assert_refused(&f, "There is no mediated device");
    g_strlcpy(f.request.device, MDEV, sizeof f.request.device);
    set_descriptor(&f, 8, "/dev/vfio/13", LOADING);
    assert_refused(&f, "but not the IOMMU group");
    set_descriptor(&f, 8, "/dev/vfio/12", LOADING);
    f.device[0]->info_flags = VFIO_DEVICE_FLAGS_CCW;
    assert_refused(&f, "holds no descriptor of the mediated device");
    f.device[0]->info_flags = VFIO_DEVICE_FLAGS_PCI;
    f.device[0]->migration_errno = ENOTTY;
    assert_refused(&f, "does not support migration");
    f.device[0]->migration_errno = 0;
    f.device[0]->migration_flags = VFIO_MIGRATION_P2P;
    assert_refused(&f, "does not support migration");
    f.device[0]->magic = 0;
    assert_refused(&f, "holds no descriptor of the mediated device");
    tear_down(&f);
}

static void
test_unreadable_state(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.device[0]->get_errno = EIO;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_cmpint(f.reply.error_number, ==, EIO);
    assert_untouched(&f);
    tear_down(&f);
}

/* Two of the same kind: refused, unless the kernel tells which is which. One of another kind is no matter. */
static void
test_two_devices(void)
{
    Fixture f;

    set_up(&f);
    be_loading(&f);
    set_descriptor(&f, GUEST_DEVICE_FD + 1, "anon_inode:[vfio-device]", LOADING);
    assert_refused(&f, "holds 2 VFIO devices of the same kind");
    f.request.verb = APMIG_FENCE_KILL_INCOMING; /* whose the session is cannot be told */
    assert_refused(&f, "holds 2 VFIO devices, and");
    f.request.verb = APMIG_FENCE_FENCE;
    set_descriptor(&f, GUEST_DEVICE_FD, "anon_inode:[vfio-device]",
                   LOADING "vfio-device-syspath: /sys/devices/vfio_ap/matrix/" OTHER "\n");
    set_descriptor(&f, GUEST_DEVICE_FD + 1, "anon_inode:[vfio-device]",
                   LOADING "vfio-device-syspath: /sys/devices/vfio_ap/matrix/" MDEV "\n");
    f.device[1]->state = VFIO_DEVICE_STATE_RESUMING;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_RESUMING, APMIG_VFIO_STOP);
    g_assert_cmpuint(f.device[0]->n_sets, ==, 0);
    g_assert_cmpuint(f.device[1]->n_sets, ==, 1);
    set_descriptor(&f, GUEST_DEVICE_FD, "anon_inode:[vfio-device]", LOADING);
    set_descriptor(&f, GUEST_DEVICE_FD + 1, "anon_inode:[vfio-device]", LOADING);
    f.device[1]->info_flags = VFIO_DEVICE_FLAGS_CCW;
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_RESUMING, APMIG_VFIO_STOP);
    g_assert_cmpuint(f.device[0]->n_sets, ==, 1);
    tear_down(&f);
}

/* Opened by itself: sysfs says which character device it is. /dev/null stands in for it. */
static void
test_character_device(void)
{
    g_autofree char *number = NULL;
    Fixture f;

    set_up(&f);
    be_loading(&f);
    f.cdev = path_of(&f, "device");
    g_assert_true(g_file_set_contents(f.cdev, (const char *)f.device[0], sizeof(FakeDevice), NULL));
    number = path_of(&f, "sys/bus/mdev/devices/" MDEV "/vfio-dev/vfio3/dev");
    unset_descriptor(&f, 8); /* no group */
    unset_descriptor(&f, GUEST_DEVICE_FD);
    set_descriptor(&f, GUEST_SESSION_FD, "/dev/vfio/devices/vfio3", LOADING);
    set_descriptor(&f, 9, "anon_inode:vfio_ap_mig_file", LOADING);
    write_file(number, "1:5\n");
    assert_refused(&f, "holds no descriptor of the mediated device");
    write_file(number, "1:3\n");
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_RESUMING, APMIG_VFIO_STOP);
    set_descriptor(&f, GUEST_SESSION_FD, "/dev/vfio/devices/vfio4", LOADING);
    assert_refused(&f, "holds no descriptor of the mediated device");
    tear_down(&f);
}

static void
test_session_names(void)
{
    static const char *const sessions[] = {"mtty_mig",         "mlx5vf_mig",       "virtiovf_mig",
                                           "hisi_acc_vf_mig",  "qat_vf_mig",       "nvmevf_mig",
                                           "vfio_ap_mig_file", "vfio_ap_migf",     "pds_vfio_lm",
                                           "pds-vfio-lm",      "xe-vfio-migration"};
    static const char *const others[] = {"[vfio-device]", "[eventfd]",  "[vfio_mig]", "inotify",   "kvm-vm",
                                         "kvm-vcpu:0",    "kvm-flic",   "bpf-map",    "sync_file", "mig",
                                         "migration",     "imigrate_x", "lm",         "film",      ""};

    for (guint i = 0; i < G_N_ELEMENTS(sessions); i++)
        g_assert_true(apmig_device_is_session_name(sessions[i]));
    for (guint i = 0; i < G_N_ELEMENTS(others); i++)
        g_assert_false(apmig_device_is_session_name(others[i]));
}

/* --- whom and what it hears ------------------------------------------------------------------------ */

static void
test_peer(void)
{
    Fixture f;

    if (getuid() != 0) {
        g_test_skip("only root can be somebody else");
        return;
    }
    set_up(&f);
    be_loading(&f);
    f.peer = 65534;
    assert_refused(&f, "only apmigd and root may");
    g_assert_cmpint(f.reply.error_number, ==, EPERM);
    tear_down(&f);
}

static void
assert_not_understood(Fixture *f, gconstpointer packet, gsize length, const char *words)
{
    int status = send_packet(f, packet, length);

    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
    assert_reply(f, APMIG_FENCE_REFUSED, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_nonnull(strstr(f->reply.message, words));
    g_assert_cmpint(f->reply.pid, ==, 0);
    assert_untouched(f);
}

static void
test_malformed(void)
{
    guint8 large[2 * sizeof(ApmigFenceRequest)] = {0};
    Fixture f;

    set_up(&f);
    be_loading(&f);
    memcpy(large, &f.request, sizeof f.request);
    assert_not_understood(&f, "{}", 2, "nothing that apmigd and apmigd-fence say");
    assert_not_understood(&f, large, sizeof f.request - 1, "It has 367 bytes, not 368");
    assert_not_understood(&f, large, sizeof large, "It has 736 bytes, not 368");
    f.request.verb = APMIG_N_FENCE_VERBS;
    assert_not_understood(&f, &f.request, sizeof f.request, "\"verb\"");
    f.request.verb = APMIG_FENCE_FENCE;
    f.request.header.version = 7;
    assert_not_understood(&f, &f.request, sizeof f.request, "It is of version 7, not 3");
    assert_not_understood(&f, &f.request.header, sizeof f.request.header, "It is of version 7, not 3");
    tear_down(&f);
}

static void
test_no_socket(void)
{
    const char *const argv[] = {HELPER_PROGRAM, NULL};
    const char *const bad[] = {HELPER_PROGRAM, "--nonsense", NULL};
    g_autofree char *errors = NULL;
    int status;

    g_assert_true(
        g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &errors, &status, NULL));
    g_assert_cmpint(status, !=, 0);
    g_assert_nonnull(strstr(errors, "is started by systemd"));
    g_assert_true(g_str_has_prefix(errors, "<4>")); /* a warning, to the journal */
    g_clear_pointer(&errors, g_free);
    g_assert_true(
        g_spawn_sync(NULL, (char **)bad, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, &errors, &status, NULL));
    g_assert_cmpint(WEXITSTATUS(status), ==, 2);
}

/* --- how it ends ----------------------------------------------------------------------------------- */

static void
test_silent_peer(void)
{
    gint64 begun = g_get_monotonic_time();
    Fixture f;
    int status;

    set_up(&f);
    start_helper(&f);
    status = end_helper(&f);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
    g_assert_cmpint(g_get_monotonic_time() - begun, <, 5 * G_USEC_PER_SEC);
    tear_down(&f);
}

static void
be_killed(Fixture *f, const char *failpoint)
{
    set_up(f);
    be_loading(f);
    f->request.verb = APMIG_FENCE_KILL_INCOMING;
    f->failpoint = failpoint;
}

/* Whoever froze it does not go on: it runs again all the same, and soon. */
static void
test_freeze_is_bounded(void)
{
    Fixture f;

    be_killed(&f, "stop:qemu-frozen");
    ask(&f);
    if (f.reply.result == APMIG_FENCE_DONE) {
        g_test_skip("built without failpoints");
    } else {
        assert_reply(&f, APMIG_FENCE_FAILED, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
        g_assert_cmpint(f.reply.error_number, ==, ETIMEDOUT);
        g_assert_cmpint(f.reply.frozen_usec, >, 0);
        g_assert_cmpint(f.reply.frozen_usec, <, G_USEC_PER_SEC);
        assert_untouched(&f);
    }
    tear_down(&f);
}

/* Killed it is, though whoever did so did not come to tell. */
static void
test_killed_and_not_told(void)
{
    Fixture f;

    be_killed(&f, "stop:qemu-killed");
    ask(&f);
    assert_reply(&f, APMIG_FENCE_DONE, APMIG_VFIO_UNKNOWN, APMIG_VFIO_UNKNOWN);
    g_assert_cmpint(f.reply.frozen_usec, >, 0);
    assert_killed(&f);
    tear_down(&f);
}

/* So it does when the helper ends that has whoever froze it as a child. */
static void
test_ends_while_frozen(gconstpointer signal)
{
    gboolean frozen = FALSE;
    Fixture f;

    be_killed(&f, "stop:qemu-frozen");
    for (int tries = 0; tries < 10 && !frozen; tries++) {
        start_helper(&f);
        g_assert_cmpint(send(f.connection, &f.request, sizeof f.request, MSG_NOSIGNAL), >, 0);
        for (int i = 0; i < 500 && !frozen; i++) {
            frozen = guest_letter(&f.guest) == 't';
            g_usleep(frozen ? 0 : 200);
        }
        kill(f.helper, GPOINTER_TO_INT(signal));
        end_helper(&f);
    }
    if (frozen)
        assert_untouched(&f);
    else
        g_test_skip("built without failpoints");
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fence/helper/inspect", test_inspect);
    g_test_add_func("/fence/helper/look", test_look);
    g_test_add_func("/fence/helper/fence-incoming", test_fence_incoming);
    g_test_add_func("/fence/helper/fence-outgoing", test_fence_outgoing);
    g_test_add_func("/fence/helper/nothing-to-do", test_nothing_to_do);
    guest_add_traced_test("/fence/helper/loaded-already", test_loaded_already);
    guest_add_traced_test("/fence/helper/moves-on", test_moves_on);
    g_test_add_func("/fence/helper/driver-refuses", test_driver_refuses);
    guest_add_traced_test("/fence/helper/kill-incoming", test_kill_incoming);
    guest_add_traced_test("/fence/helper/kill-without-session", test_kill_without_session);
    g_test_add_func("/fence/helper/stop-is-taken-back", test_stop_is_taken_back);
    g_test_add_func("/fence/helper/late-stop-is-taken-back", test_late_stop_is_taken_back);
    g_test_add_func("/fence/helper/vfio-ap", test_vfio_ap);
    g_test_add_func("/fence/helper/busy-driver", test_busy_driver);
    guest_add_traced_test("/fence/helper/freeze-is-bounded", test_freeze_is_bounded);
    g_test_add_func("/fence/helper/wrong-direction", test_wrong_direction);
    g_test_add_func("/fence/helper/not-incoming", test_not_incoming);
    g_test_add_func("/fence/helper/wrong-process", test_wrong_process);
    g_test_add_func("/fence/helper/uuid-elsewhere", test_uuid_elsewhere);
    g_test_add_func("/fence/helper/process-gone", test_process_gone);
    g_test_add_func("/fence/helper/wrong-device", test_wrong_device);
    g_test_add_func("/fence/helper/unreadable-state", test_unreadable_state);
    g_test_add_func("/fence/helper/two-devices", test_two_devices);
    g_test_add_func("/fence/helper/character-device", test_character_device);
    g_test_add_func("/fence/helper/session-names", test_session_names);
    g_test_add_func("/fence/helper/peer", test_peer);
    g_test_add_func("/fence/helper/malformed", test_malformed);
    g_test_add_func("/fence/helper/no-socket", test_no_socket);
    g_test_add_func("/fence/helper/silent-peer", test_silent_peer);
    guest_add_traced_test("/fence/helper/killed-and-not-told", test_killed_and_not_told);
    guest_add_traced_data_test("/fence/helper/killed-while-frozen", GINT_TO_POINTER(SIGKILL),
                               test_ends_while_frozen);
    guest_add_traced_data_test("/fence/helper/terminated-while-frozen", GINT_TO_POINTER(SIGTERM),
                               test_ends_while_frozen);
    return g_test_run();
}
