/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the daemon knows of its keys: cards that answer, that hang, that answer late; what is kept, and what is not. */
#include "cards/key-view.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cards/fixture.h"

#define HOST_A  SOURCE_DIR "/tests/data/ap/hostA/sys"
#define DEVICES "devices/ap/card02/02.0004"
#define MKVPS   DEVICES "/mkvps"
#define LONG    (10 * G_USEC_PER_SEC)
#define SHORT   (2 * G_USEC_PER_SEC)

#define DASHES "AES NEW: - -\nAES CUR: - -\nAES OLD: - -\n"
#define KEY(digits)                                                                                          \
    "AES NEW: empty 0x0000000000000000\nAES CUR: valid 0x" digits "\nAES OLD: invalid 0x0000000000000000\n"

typedef struct {
    char *root;
    ApmigKeyView *view;
    GPtrArray *alarms;
    gboolean answered;
    char *cards; /* "02.0004 AES=0x... WK=-", by queue, of what the last reading brought */
    char *serials;
    char *error;
} Fixture;

static void
on_alarm(guint adapter, guint domain, const char *alarm, gpointer data)
{
    g_ptr_array_add(((Fixture *)data)->alarms, g_strdup(alarm));
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigSysfs) sysfs = NULL;
    g_autofree char *command = NULL;
    int status = -1;

    fixture->root = sysfs_new();
    command = g_strdup_printf("cp -a %s/. %s", HOST_A, fixture->root);
    g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, &status, NULL) && status == 0);
    fixture->alarms = g_ptr_array_new_with_free_func(g_free);
    sysfs = apmig_sysfs_new(fixture->root);
    fixture->view = apmig_key_view_new(sysfs);
    apmig_key_view_set_alarm_func(fixture->view, on_alarm, fixture);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_key_view_free(fixture->view);
    g_ptr_array_unref(fixture->alarms);
    sysfs_free(fixture->root);
    g_free(fixture->cards);
    g_free(fixture->serials);
    g_free(fixture->error);
}

static void
set_text(char **place, const char *text)
{
    g_free(*place);
    *place = g_strdup(text);
}

static int
compare_readings(gconstpointer a, gconstpointer b)
{
    const ApmigKeyReading *left = *(ApmigKeyReading *const *)a, *right = *(ApmigKeyReading *const *)b;

    return (int)(left->adapter * 256 + left->domain) - (int)(right->adapter * 256 + right->domain);
}

static void
on_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence, const char *error,
        gpointer data)
{
    Fixture *fixture = data;
    g_autoptr(GString) cards = g_string_new(NULL);
    g_autoptr(GString) serials = g_string_new(NULL);

    g_assert_false(fixture->answered);
    fixture->answered = TRUE;
    set_text(&fixture->error, error);
    if (readings)
        g_ptr_array_sort((GPtrArray *)readings, compare_readings);
    for (guint i = 0; readings && i < readings->len; i++) {
        const ApmigKeyReading *reading = readings->pdata[i];
        g_autofree char *aes =
            apmig_key_pattern_to_string(&reading->mkvps.registers[APMIG_KEY_AES][APMIG_REGISTER_CUR]);

        g_string_append_printf(cards, "%s%02x.%04x %s", i > 0 ? ", " : "", reading->adapter, reading->domain,
                               aes);
    }
    for (guint i = 0; host && i < host->cards->len; i++)
        g_string_append_printf(serials, "%s/", ((const ApmigApCard *)host->cards->pdata[i])->serial);
    set_text(&fixture->cards, cards->str);
    set_text(&fixture->serials, serials->str);
}

static void
wait_for_answer(Fixture *fixture)
{
    gint64 end = g_get_monotonic_time() + LONG;

    while (!fixture->answered) {
        g_main_context_iteration(NULL, FALSE);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static const char *
read_cards(Fixture *fixture, const char *scope_text, gint64 max_age, gint64 limit)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse(scope_text, NULL);

    fixture->answered = FALSE;
    apmig_key_view_read(fixture->view, scope, max_age, limit, on_read, fixture);
    g_assert_false(fixture->answered);
    wait_for_answer(fixture);
    g_assert_cmpstr(fixture->error, ==, NULL);
    return fixture->cards;
}

static const ApmigEvidenceRecord *
known(const Fixture *fixture)
{
    return apmig_evidence_lookup(apmig_key_view_evidence(fixture->view), 0x02, 0x04, APMIG_KEY_AES);
}

/* --- tests --------------------------------------------------------------------------------------- */

static void
test_whole_host(Fixture *fixture, gconstpointer data)
{
    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "02.0004 0xb2732827c67f8ef9, 05.0004 -");
    g_assert_cmpstr(fixture->serials, ==, "93AAB1C2/93AABCDE07251234//");
    g_assert_cmpint(known(fixture)->evidence, ==, APMIG_EVIDENCE_VERIFIED);
    /* The adapters of a domain have to agree: who asks for one hears of the others. */
    g_assert_cmpstr(read_cards(fixture, "02.0004", 0, LONG), ==, "02.0004 0xb2732827c67f8ef9, 05.0004 -");
    g_assert_cmpstr(read_cards(fixture, "*.0005", 0, LONG), ==, "");
    g_assert_cmpuint(fixture->alarms->len, ==, 0);
}

static void
test_no_bus(Fixture *fixture, gconstpointer data)
{
    sysfs_remove(fixture->root, "bus/ap");
    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "");
    g_assert_cmpstr(fixture->serials, ==, "");
}

static void
test_age(Fixture *fixture, gconstpointer data)
{
    read_cards(fixture, "all", 0, LONG);
    sysfs_write(fixture->root, MKVPS, KEY("1111111111111111"));
    g_assert_cmpstr(read_cards(fixture, "all", LONG, LONG), ==, "02.0004 0xb2732827c67f8ef9, 05.0004 -");
    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "02.0004 0x1111111111111111, 05.0004 -");
}

static char *
make_fifo(Fixture *fixture)
{
    char *path = sysfs_path(fixture->root, MKVPS);

    sysfs_remove(fixture->root, MKVPS);
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    return path;
}

/* It is late, not for ever: it hinders no other card, gets no second thread, and is heard again afterwards. */
static void
test_card_hangs(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = NULL;
    gint64 begun;
    int fd;

    read_cards(fixture, "all", 0, LONG);
    path = make_fifo(fixture);
    g_assert_cmpstr(read_cards(fixture, "all", 0, SHORT), ==, "05.0004 -");
    g_assert_null(known(fixture));
    begun = g_get_monotonic_time();
    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "05.0004 -");
    g_assert_cmpint(g_get_monotonic_time() - begun, <, LONG / 2);

    /* One reader alone has it open: what is written once is read once, and ends it. */
    fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    sysfs_remove(fixture->root, MKVPS);
    sysfs_write(fixture->root, MKVPS, KEY("2222222222222222"));
    g_assert_cmpint(write(fd, DASHES, strlen(DASHES)), ==, (gssize)strlen(DASHES));
    close(fd);
    begun = g_get_monotonic_time();
    while (!g_str_has_prefix(read_cards(fixture, "all", 0, LONG), "02.0004 0x2222222222222222"))
        g_assert_cmpint(g_get_monotonic_time() - begun, <, LONG);
}

static void
test_freed_while_a_card_hangs(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigScope) scope = apmig_scope_new_all();
    g_autofree char *path = make_fifo(fixture);
    int fd;

    read_cards(fixture, "all", 0, SHORT);
    fixture->answered = FALSE;
    apmig_key_view_read(fixture->view, scope, 0, LONG, on_read, fixture);
    g_clear_pointer(&fixture->view, apmig_key_view_free);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    close(fd);
    for (guint i = 0; i < 50; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(2000);
    }
    g_assert_false(fixture->answered);
}

static gpointer
give_dashes_once(gpointer data)
{
    Fixture *fixture = data;
    g_autofree char *path = sysfs_path(fixture->root, MKVPS);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    sysfs_remove(fixture->root, MKVPS);
    sysfs_write(fixture->root, MKVPS, KEY("3333333333333333"));
    g_assert_cmpint(write(fd, DASHES, strlen(DASHES)), ==, (gssize)strlen(DASHES));
    close(fd);
    return NULL;
}

static void
test_dashes(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = make_fifo(fixture);
    GThread *writer = g_thread_new("writer", give_dashes_once, fixture);

    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "02.0004 0x3333333333333333, 05.0004 -");
    g_thread_join(writer);
    sysfs_write(fixture->root, MKVPS, DASHES);
    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "02.0004 -, 05.0004 -");
    g_assert_null(known(fixture));
}

/* A queue that was given to guests, or is offline, is no longer vouched for by what was read of it. */
static void
test_no_longer_readable(Fixture *fixture, gconstpointer data)
{
    read_cards(fixture, "all", 0, LONG);
    sysfs_write(fixture->root, DEVICES "/online", "0\n");
    g_assert_cmpstr(read_cards(fixture, "all", 0, LONG), ==, "05.0004 -");
    g_assert_null(known(fixture));

    sysfs_write(fixture->root, DEVICES "/online", "1\n");
    read_cards(fixture, "all", 0, LONG);
    g_assert_nonnull(known(fixture));
    sysfs_remove(fixture->root, DEVICES "/driver");
    sysfs_link(fixture->root, DEVICES "/driver", "../../../../bus/ap/drivers/vfio_ap");
    read_cards(fixture, "*.0005", LONG, LONG);
    g_assert_null(known(fixture));
}

static void
test_contradiction(Fixture *fixture, gconstpointer data)
{
    ApmigEvidenceRecord declared = {0x02, 0x04, APMIG_KEY_AES, APMIG_EVIDENCE_DECLARED};

    g_assert_true(apmig_key_pattern_parse("0x4444444444444444", 8, &declared.registers[APMIG_REGISTER_CUR]));
    declared.registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    declared.source = (char *)"anna";
    declared.at = 1;
    apmig_evidence_add(apmig_key_view_evidence(fixture->view), &declared, NULL);
    read_cards(fixture, "all", 0, LONG);
    read_cards(fixture, "all", 0, LONG);
    g_assert_cmpuint(fixture->alarms->len, ==, 1);
    g_assert_nonnull(strstr(fixture->alarms->pdata[0], "02.0004"));
    g_assert_nonnull(strstr(fixture->alarms->pdata[0], "anna"));
}

/* Until the next reading, whatever that has found. */
static void
test_host(Fixture *fixture, gconstpointer data)
{
    const ApmigApHost *host;

    g_assert_null(apmig_key_view_host(fixture->view, LONG));
    read_cards(fixture, "all", 0, LONG);
    host = apmig_key_view_host(fixture->view, LONG);
    g_assert_cmpuint(host->queues->len, >, 0);
    g_assert_null(apmig_key_view_host(fixture->view, -1)); /* too old */

    sysfs_remove(fixture->root, "bus/ap");
    g_assert_true(apmig_key_view_host(fixture->view, LONG) == host && host->present);
    fixture->answered = FALSE;
    apmig_key_view_read_host(fixture->view, LONG, on_read, fixture);
    wait_for_answer(fixture);
    g_assert_false(apmig_key_view_host(fixture->view, LONG)->present);

    fixture->answered = FALSE;
    apmig_key_view_read_host(fixture->view, 0, on_read, fixture); /* too short for any */
    wait_for_answer(fixture);
    g_assert_null(apmig_key_view_host(fixture->view, LONG));
}

static void
count_reading(const ApmigApHost *host, gint64 asked_at, gint64 began_at, gpointer data)
{
    g_assert_cmpint(asked_at, <=, began_at);
    ++*(guint *)data;
}

static void
count_answer(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
             const char *error, gpointer data)
{
    ++*(guint *)data;
}

/* Two that asked during one reading share the next one, which is told of once: it does not agree with itself. */
static void
test_one_reading_for_two(Fixture *fixture, gconstpointer data)
{
    guint n_readings = 0, n_answers = 0;

    apmig_key_view_set_host_func(fixture->view, count_reading, &n_readings);
    for (guint i = 0; i < 3; i++)
        apmig_key_view_read_host(fixture->view, LONG, count_answer, &n_answers);
    while (n_answers < 3)
        g_main_context_iteration(NULL, TRUE);
    g_usleep(50000); /* for one that nobody has asked for */
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpuint(n_readings, ==, 2);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add("/key-view/" name, Fixture, NULL, set_up, function, tear_down)
    ADD("whole-host", test_whole_host);
    ADD("no-bus", test_no_bus);
    ADD("age", test_age);
    ADD("card-hangs", test_card_hangs);
    ADD("freed-while-a-card-hangs", test_freed_while_a_card_hangs);
    ADD("dashes", test_dashes);
    ADD("no-longer-readable", test_no_longer_readable);
    ADD("contradiction", test_contradiction);
    ADD("host", test_host);
    ADD("one-reading-for-two", test_one_reading_for_two);
#undef ADD
    return g_test_run();
}
