/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read of the AP bus and of mediated devices: a whole host, and hosts with something missing or damaged. */
#include "cards/ap-sysfs.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cards/fixture.h"

#define HOST_A SOURCE_DIR "/tests/data/ap/hostA/sys"
#define D1     "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2     "a1b2c3d4-f1bb-47f0-914d-000000000102"
#define DEVICE "bus/mdev/devices/" D1

static void
assert_mask(const ApmigApMask *mask, const char *numbers)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < APMIG_AP_NUMBERS; i++)
        if (apmig_ap_mask_has(mask, i))
            g_string_append_printf(text, "%s%02x", text->len > 0 ? " " : "", i);
    g_assert_cmpstr(text->str, ==, numbers);
}

static void
assert_scope(const ApmigScope *scope, const char *text)
{
    g_assert_nonnull(scope);
    g_assert_cmpstr(apmig_scope_to_string(scope), ==, text);
}

/* --- a whole host -------------------------------------------------------------------------------- */

static void
assert_card(const ApmigApCard *card, guint adapter, const char *type, const char *serial, guint hwtype,
            guint32 functions)
{
    g_autofree char *read_serial = apmig_ap_read_serial(HOST_A, adapter);

    g_assert_cmpuint(card->adapter, ==, adapter);
    g_assert_cmpstr(card->type, ==, type);
    g_assert_cmpstr(card->serial, ==, ""); /* no card is asked */
    g_assert_cmpstr(read_serial, ==, serial);
    g_assert_cmpuint(card->hwtype, ==, hwtype);
    g_assert_cmpuint(card->raw_hwtype, ==, hwtype);
    g_assert_cmpint(card->has_functions, ==, APMIG_YES);
    g_assert_cmphex(card->functions, ==, functions);
    g_assert_cmpint(card->online, ==, APMIG_YES);
    g_assert_cmpint(card->config, ==, APMIG_YES);
    g_assert_cmpint(card->chkstop, ==, APMIG_NO);
}

static void
test_cards(void)
{
    g_autoptr(ApmigApHost) host = sysfs_read_host(HOST_A);

    g_assert_true(host->present);
    g_assert_cmpuint(host->cards->len, ==, 3);
    assert_card(host->cards->pdata[0], 0x02, "CEX8C", "93AAB1C2", 14, 0x93800000);
    assert_card(host->cards->pdata[1], 0x05, "CEX8P", "93AABCDE07251234", 14, 0x86800000);
    assert_card(host->cards->pdata[2], 0x0a, "CEX7A", "", 13, 0x6a800000);
}

static void
test_queues(void)
{
    static const struct {
        guint adapter, domain;
        const char *driver;
        guint32 functions;
        ApmigApStatus status;
    } expected[] = {
        {0x02, 0x04, "cex4queue", 0x93800000, APMIG_AP_STATUS_UNKNOWN},
        {0x02, 0x05, "vfio_ap", 0x93800000, APMIG_AP_STATUS_IN_USE},
        {0x02, 0x2c, "vfio_ap", 0x93800000, APMIG_AP_STATUS_IN_USE},
        {0x02, 0x4f, "vfio_ap", 0x93800000, APMIG_AP_STATUS_IN_USE},
        {0x05, 0x04, "cex4queue", 0x86800000, APMIG_AP_STATUS_UNKNOWN},
        {0x05, 0x05, "vfio_ap", 0x86800000, APMIG_AP_STATUS_IN_USE},
        {0x05, 0x2c, "vfio_ap", 0x86800000, APMIG_AP_STATUS_IN_USE},
        {0x05, 0x4f, "vfio_ap", 0x86800000, APMIG_AP_STATUS_UNASSIGNED},
        {0x0a, 0x04, "cex4queue", 0x6a800000, APMIG_AP_STATUS_UNKNOWN},
        {0x0a, 0x05, "vfio_ap", 0x6a800000, APMIG_AP_STATUS_UNASSIGNED},
        {0x0a, 0x2c, "vfio_ap", 0x6a800000, APMIG_AP_STATUS_UNASSIGNED},
        {0x0a, 0x4f, "vfio_ap", 0x6a800000, APMIG_AP_STATUS_IN_USE},
    };
    g_autoptr(ApmigApHost) host = sysfs_read_host(HOST_A);

    g_assert_cmpuint(host->queues->len, ==, G_N_ELEMENTS(expected));
    for (guint i = 0; i < G_N_ELEMENTS(expected); i++) {
        const ApmigApQueue *queue = host->queues->pdata[i];
        gboolean is_vfio_ap = g_str_equal(expected[i].driver, "vfio_ap");

        g_assert_cmpuint(queue->adapter, ==, expected[i].adapter);
        g_assert_cmpuint(queue->domain, ==, expected[i].domain);
        g_assert_cmpstr(queue->driver, ==, expected[i].driver);
        g_assert_cmpint(queue->has_functions, ==, APMIG_YES);
        g_assert_cmphex(queue->functions, ==, expected[i].functions);
        g_assert_cmpint(queue->online, ==, is_vfio_ap ? APMIG_UNKNOWN : APMIG_YES);
        g_assert_cmpint(queue->config, ==, APMIG_YES);
        g_assert_cmpint(queue->chkstop, ==, APMIG_NO);
        g_assert_cmpint(queue->status, ==, expected[i].status);
    }
}

static void
test_devices(void)
{
    g_autoptr(ApmigApHost) read = sysfs_read_host(HOST_A);
    g_autoptr(ApmigApHost) host = apmig_ap_host_copy(read);
    const ApmigApDevice *device;

    g_assert_cmpuint(host->devices->len, ==, 2);
    device = host->devices->pdata[0];
    g_assert_cmpstr(device->uuid, ==, D1);
    assert_scope(device->queues, "02.0005,02.002c,05.0005,05.002c");
    g_assert_cmpint(device->has_config, ==, APMIG_YES);
    assert_mask(&device->adapters, "02 05");
    assert_mask(&device->domains, "05 2c");
    assert_mask(&device->control_domains, "05 2c");
    device = host->devices->pdata[1];
    g_assert_cmpstr(device->uuid, ==, D2);
    assert_scope(device->queues, "02.004f,0a.004f");
    g_assert_cmpint(device->has_config, ==, APMIG_YES);
    assert_mask(&device->adapters, "02 0a");
    assert_mask(&device->domains, "4f");
    assert_mask(&device->control_domains, "");
}

static void
test_bus(void)
{
    g_autoptr(ApmigApHost) host = sysfs_read_host(HOST_A);

    g_assert_cmpint(host->has_masks, ==, APMIG_YES);
    assert_mask(&host->usage_domains, "04 05 2c 4f");
    assert_mask(&host->control_domains, "04 05 06 2c 4f");
    g_assert_cmpint(host->has_default_masks, ==, APMIG_YES);
    for (guint i = 0; i < APMIG_AP_NUMBERS; i++) {
        g_assert_true(apmig_ap_mask_has(&host->adapters_default, i));
        g_assert_cmpint(apmig_ap_mask_has(&host->domains_default, i), ==,
                        i != 0x05 && i != 0x2c && i != 0x4f);
    }
    g_assert_false(host->can_migrate);
}

/* --- what is missing or damaged ------------------------------------------------------------------- */

static void
test_no_bus(void)
{
    char *root = sysfs_new();
    g_autoptr(ApmigApHost) host = NULL;
    g_autoptr(ApmigApHost) nowhere = sysfs_read_host("/nonexistent");

    sysfs_add_device(root, D1, "02.0005\n", NULL); /* no bus, nothing but that */
    host = sysfs_read_host(root);
    g_assert_false(host->present || nowhere->present);
    g_assert_cmpuint(host->cards->len + host->queues->len + nowhere->devices->len, ==, 0);
    g_assert_cmpuint(host->devices->len, ==, 1);
    g_assert_cmpint(host->has_masks, ==, APMIG_UNKNOWN);
    sysfs_free(root);
}

/* Returns: (transfer full): the path of a file that nobody writes into, so that whoever opens it hangs. */
static char *
add_hanging_file(const char *root, const char *path)
{
    char *full = sysfs_path(root, path);

    sysfs_remove(root, path);
    g_assert_cmpint(mkfifo(full, 0600), ==, 0);
    return full;
}

static void
end_hanging(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
}

/* A queue that is being reset, and a device whose lock somebody has: the others are known. */
static void
test_hanging(void)
{
    char *root = sysfs_new();
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(root);
    g_autoptr(ApmigScope) scope = NULL, none = NULL;
    g_autoptr(ApmigApHost) host = NULL;
    g_autofree char *status = NULL, *matrix = NULL;

    sysfs_write(root, "bus/ap/devices/02.0004/status", "in use\n");
    sysfs_write(root, "bus/ap/devices/02.0005/status", "in use\n");
    sysfs_add_device(root, D1, "02.0004\n", "02.0004\n");
    sysfs_add_device(root, D2, "02.0005\n", "02.0005\n");
    status = add_hanging_file(root, "bus/ap/devices/02.0005/status");
    matrix = add_hanging_file(root, "bus/mdev/devices/" D2 "/guest_matrix");
    host = apmig_ap_read_host(sysfs);
    g_assert_cmpuint(host->queues->len, ==, 2);
    g_assert_cmpint(((ApmigApQueue *)host->queues->pdata[0])->status, ==, APMIG_AP_STATUS_IN_USE);
    g_assert_false(((ApmigApQueue *)host->queues->pdata[0])->hangs);
    g_assert_true(((ApmigApQueue *)host->queues->pdata[1])->hangs);
    g_assert_cmpuint(host->devices->len, ==, 2);
    g_assert_null(((ApmigApDevice *)host->devices->pdata[1])->queues);
    scope = apmig_ap_device_scope(sysfs, D1);
    none = apmig_ap_device_scope(sysfs, D2);
    g_assert_cmpstr(apmig_scope_to_string(scope), ==, "02.0004");
    g_assert_null(none);
    end_hanging(status);
    end_hanging(matrix);
    sysfs_free(root);
}

static void
test_unknown(void)
{
    char *root = sysfs_new();
    g_autoptr(ApmigApHost) host = NULL;
    const ApmigApQueue *queue;
    const ApmigApCard *card;

    sysfs_write(root, "bus/ap/ap_usage_domain_mask", "not supported\n");
    sysfs_write(root, "bus/ap/ap_control_domain_mask", "not supported\n");
    sysfs_write(root, "bus/ap/apmask", "0x12\n");
    sysfs_write(root, "bus/ap/devices/02.0005/ap_functions", "0x9380000\n");
    sysfs_write(root, "bus/ap/devices/02.0005/config", "yes\n");
    sysfs_write(root, "bus/ap/devices/02.0005/status", "in use by somebody\n");
    sysfs_write(root, "bus/ap/devices/card02/type", "CEX8C \x1b[2J\n");
    sysfs_write(root, "bus/ap/devices/card02/hwtype", "-14\n");
    sysfs_write(root, "bus/ap/devices/02.0105/config", "1\n");
    sysfs_write(root, "bus/ap/devices/card2/config", "1\n");
    sysfs_write(root, "bus/ap/devices/05.0005", "1\n");            /* no folder */
    sysfs_link(root, "bus/ap/devices/05.002c", "../gone/05.002c"); /* it vanishes */
    sysfs_write(root, "devices/vfio_ap/matrix/features", "guest_matrix hotplug ap_config migratable\n");
    host = sysfs_read_host(root);

    g_assert_true(host->present && host->can_migrate);
    g_assert_cmpint(host->has_masks, ==, APMIG_NO);
    g_assert_cmpint(host->has_default_masks, ==, APMIG_UNKNOWN);
    g_assert_cmpuint(host->queues->len, ==, 1);
    queue = host->queues->pdata[0];
    g_assert_cmpstr(queue->driver, ==, "");
    g_assert_cmpint(queue->has_functions, ==, APMIG_UNKNOWN);
    g_assert_cmpint(queue->config, ==, APMIG_UNKNOWN);
    g_assert_cmpint(queue->chkstop, ==, APMIG_UNKNOWN);
    g_assert_cmpint(queue->status, ==, APMIG_AP_STATUS_UNKNOWN);
    g_assert_cmpuint(host->cards->len, ==, 1);
    card = host->cards->pdata[0];
    g_assert_cmpstr(card->type, ==, "");
    g_assert_cmpstr(card->serial, ==, "");
    g_assert_cmpuint(card->hwtype, ==, 0);
    g_assert_cmpint(card->has_functions, ==, APMIG_UNKNOWN);
    sysfs_free(root);
}

/* --- mediated devices ---------------------------------------------------------------------------- */

static void
assert_device_scope(const char *root, const char *uuid, const char *text)
{
    g_autoptr(ApmigScope) scope = sysfs_device_scope(root, uuid);

    g_assert_cmpstr(scope != NULL ? apmig_scope_to_string(scope) : NULL, ==, text);
}

static void
test_device_scope(void)
{
    char *root = sysfs_new();
    g_autofree char *much = g_strnfill(5000, '\n');

    assert_device_scope(HOST_A, D1, "02.0005,02.002c,05.0005,05.002c");
    assert_device_scope(HOST_A, "A1B2C3D4-F1BB-47F0-914D-000000000102", "02.004f,0a.004f");
    g_assert_cmpint(apmig_ap_is_device(HOST_A, D1), ==, APMIG_YES);

    sysfs_add_device(root, D1, "02.0005\n05.0005\n", "02.0005\n"); /* filtered */
    assert_device_scope(root, D1, "02.0005");
    sysfs_write(root, DEVICE "/guest_matrix", "");
    assert_device_scope(root, D1, "none");
    sysfs_write(root, DEVICE "/guest_matrix", "02.0005\n05.00"); /* cut off */
    assert_device_scope(root, D1, NULL);
    sysfs_write(root, DEVICE "/guest_matrix", much);
    assert_device_scope(root, D1, NULL);
    sysfs_remove(root, DEVICE "/guest_matrix");
    assert_device_scope(root, D1, "02.0005,05.0005");
    sysfs_remove(root, DEVICE "/matrix");
    sysfs_write(root, DEVICE "/matrix/file", "a folder in its place");
    assert_device_scope(root, D1, NULL);
    sysfs_free(root);
}

static void
test_device_of_another_kind(void)
{
    char *root = sysfs_new();

    sysfs_write(root, DEVICE "/remove", "");
    assert_device_scope(root, D1, NULL);
    g_assert_cmpint(apmig_ap_is_device(root, D1), ==, APMIG_NO);
    sysfs_write(root, DEVICE "/guest_matrix", "02.0005\n"); /* without a matrix */
    assert_device_scope(root, D1, NULL);
    assert_device_scope(root, D2, NULL);
    g_assert_cmpint(apmig_ap_is_device(root, D2), ==, APMIG_NO);
    g_assert_cmpint(apmig_ap_is_device("/nonexistent", D1), ==, APMIG_NO);
    sysfs_free(root);
}

/* Nothing but a UUID becomes a path. */
static void
test_device_of_a_hostile_name(void)
{
    static const char *const names[] = {"",           ".", "..", "../devices/" D1, D1 "/",
                                        D1 "/../" D1, "/", "x",  D1 " ",           D1 "0"};
    char *root = sysfs_new();

    sysfs_add_device(root, D1, "02.0005\n", "02.0005\n");
    sysfs_add_device(root, "x", "02.0005\n", "02.0005\n");
    sysfs_write(root, "bus/mdev/devices/matrix", "02.0005\n");
    sysfs_write(root, "bus/mdev/matrix", "02.0005\n");
    sysfs_write(root, "bus/ap/features", "-\n");
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        assert_device_scope(root, names[i], NULL);
        g_assert_cmpint(apmig_ap_is_device(root, names[i]), ==, APMIG_NO);
    }
    {
        g_autoptr(ApmigApHost) host = sysfs_read_host(root);

        g_assert_cmpuint(host->devices->len, ==, 1);
    }
    sysfs_free(root);
}

/* A kernel without ap_config and guest_matrix. */
static void
test_device_of_an_older_kernel(void)
{
    char *root = sysfs_new();
    g_autoptr(ApmigApHost) host = NULL;
    const ApmigApDevice *device;

    sysfs_write(root, "bus/ap/features", "-\n");
    sysfs_add_device(root, D1, "02.0005\n02.002c\n", NULL);
    sysfs_write(root, DEVICE "/control_domains", "0005\n");
    sysfs_add_device(root, D2, "02.\n05.\n", NULL);
    host = sysfs_read_host(root);
    g_assert_cmpuint(host->devices->len, ==, 2);
    device = host->devices->pdata[0];
    assert_scope(device->queues, "02.0005,02.002c");
    g_assert_cmpint(device->has_config, ==, APMIG_YES);
    assert_mask(&device->adapters, "02");
    assert_mask(&device->domains, "05 2c");
    assert_mask(&device->control_domains, "05");
    device = host->devices->pdata[1];
    assert_scope(device->queues, "none");
    g_assert_cmpint(device->has_config, ==, APMIG_UNKNOWN);
    sysfs_free(root);
}

/* --- master-key verification patterns ------------------------------------------------------------ */

static void
assert_no_mkvps(const char *root, guint adapter, guint domain, GIOErrorEnum code)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;

    text = apmig_ap_read_mkvps_text(root, adapter, domain, &error);
    g_assert_null(text);
    g_assert_error(error, G_IO_ERROR, (int)code);
}

static void
test_mkvps(void)
{
    char *root = sysfs_new();
    g_autofree char *expected = NULL;
    g_autofree char *text = apmig_ap_read_mkvps_text(HOST_A, 0x02, 0x04, NULL);
    g_autofree char *much = g_strnfill(5000, 'A');

    g_assert_true(g_file_get_contents(HOST_A "/devices/ap/card02/02.0004/mkvps", &expected, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
    assert_no_mkvps(HOST_A, 0x02, 0x05, G_IO_ERROR_NOT_FOUND); /* a guest's */
    assert_no_mkvps(HOST_A, 0x0a, 0x04, G_IO_ERROR_NOT_FOUND); /* an accelerator */
    assert_no_mkvps(HOST_A, 0x03, 0x04, G_IO_ERROR_NOT_FOUND);
    assert_no_mkvps("/nonexistent", 0x02, 0x04, G_IO_ERROR_NOT_FOUND);

    sysfs_write(root, "bus/ap/devices/02.0004/mkvps", "AES CUR: valid 0xb2732827c67f8ef9\n");
    sysfs_write(root, "bus/ap/devices/02.0004/online", "0\n");
    assert_no_mkvps(root, 0x02, 0x04, G_IO_ERROR_NOT_CONNECTED);
    sysfs_write(root, "bus/ap/devices/02.0004/online", "1\n");
    sysfs_write(root, "bus/ap/devices/02.0004/mkvps", much);
    assert_no_mkvps(root, 0x02, 0x04, G_IO_ERROR_FAILED); /* EFBIG */
    sysfs_free(root);
}

typedef struct {
    const char *root;
    char *text;
    GError *error;
} Reader;

static gpointer
read_in_thread(gpointer data)
{
    Reader *reader = data;

    reader->text = apmig_ap_read_mkvps_text(reader->root, 0x02, 0x04, &reader->error);
    return NULL;
}

static volatile sig_atomic_t n_signals, n_signals_while_reading;

static void
count_signal(int number)
{
    n_signals++;
}

/* A pipe stands for a card that takes its time. */
static char *
new_slow_queue(void)
{
    char *root = sysfs_new();
    g_autofree char *path = sysfs_path(root, "bus/ap/devices/02.0004/mkvps");

    sysfs_write(root, "bus/ap/devices/02.0004/online", "1\n");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    return root;
}

/* Returns: a descriptor of the pipe, once it is being read. */
static int
answer_slow_queue(const char *root)
{
    g_autofree char *path = sysfs_path(root, "bus/ap/devices/02.0004/mkvps");
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, "AES CUR: - -\n", 13), ==, 13);
    return fd;
}

static gpointer
signal_and_answer(gpointer data)
{
    const char *root = data;
    int fd = answer_slow_queue(root);

    /* The only thread that may take it is the one that reads, which is given the time to. */
    g_assert_cmpint(kill(getpid(), SIGUSR1), ==, 0);
    for (guint i = 0; i < 20 && n_signals == 0; i++)
        g_usleep(5000);
    n_signals_while_reading = n_signals;
    close(fd);
    return NULL;
}

static void
test_mkvps_without_signals(void)
{
    char *root = new_slow_queue();
    Reader reader = {.root = root};
    struct sigaction action = {.sa_handler = count_signal}, before;
    GThread *card;
    sigset_t usr1;

    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigaction(SIGUSR1, &action, &before);
    card = g_thread_new("card", signal_and_answer, root);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    read_in_thread(&reader);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    g_thread_join(card);
    g_assert_no_error(reader.error);
    g_assert_cmpstr(reader.text, ==, "AES CUR: - -\n");
    g_assert_cmpint(n_signals_while_reading, ==, 0);
    g_assert_cmpint(n_signals, ==, 1);
    sigaction(SIGUSR1, &before, NULL);
    g_free(reader.text);
    sysfs_free(root);
}

static void
test_mkvps_offline_meanwhile(void)
{
    char *root = new_slow_queue();
    Reader reader = {.root = root};
    GThread *thread = g_thread_new("reader", read_in_thread, &reader);
    int fd = answer_slow_queue(root);

    sysfs_write(root, "bus/ap/devices/02.0004/online", "0\n");
    close(fd);
    g_thread_join(thread);
    g_assert_null(reader.text);
    g_assert_error(reader.error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED);
    g_error_free(reader.error);
    sysfs_free(root);
}

int
main(int argc, char **argv)
{
    sigset_t usr1;

    sigemptyset(&usr1); /* in every thread, but for the one that test_mkvps_without_signals() wants */
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ap-sysfs/cards", test_cards);
    g_test_add_func("/ap-sysfs/queues", test_queues);
    g_test_add_func("/ap-sysfs/devices", test_devices);
    g_test_add_func("/ap-sysfs/bus", test_bus);
    g_test_add_func("/ap-sysfs/no-bus", test_no_bus);
    g_test_add_func("/ap-sysfs/unknown", test_unknown);
    g_test_add_func("/ap-sysfs/hanging", test_hanging);
    g_test_add_func("/ap-sysfs/device-scope", test_device_scope);
    g_test_add_func("/ap-sysfs/device-of-another-kind", test_device_of_another_kind);
    g_test_add_func("/ap-sysfs/device-of-a-hostile-name", test_device_of_a_hostile_name);
    g_test_add_func("/ap-sysfs/device-of-an-older-kernel", test_device_of_an_older_kernel);
    g_test_add_func("/ap-sysfs/mkvps", test_mkvps);
    g_test_add_func("/ap-sysfs/mkvps-without-signals", test_mkvps_without_signals);
    g_test_add_func("/ap-sysfs/mkvps-offline-meanwhile", test_mkvps_offline_meanwhile);
    return g_test_run();
}
