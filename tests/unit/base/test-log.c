/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the journal is told; that every message id has its explanation in the catalog; and texts made fit to show. */
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#define CATALOG SOURCE_DIR "/systemd/apmigd.catalog"
#define JOURNAL "/run/systemd/journal"

static const ApmigLogEntry entry = {
    .log = APMIG_LOG_LOCK_HELD,
    .priority = LOG_NOTICE,
    .lock_id = (char *)"deadbeef",
    .migration_id = (char *)"1-2",
    .guest = (char *)"g\n1",
    .message = (char *)"held \x1b[2J\nMESSAGE_ID=forged",
};

/* --- text ----------------------------------------------------------------------------------------- */

static void
test_plain_text(void)
{
    g_assert_true(apmig_text_is_plain("", 0));
    g_assert_true(apmig_text_is_plain("K\xc3\xb6nig", 6));
    g_assert_false(apmig_text_is_plain("K\xc3\xb6nig", 5));
    g_assert_false(apmig_text_is_plain("a\nb", 9));
    g_assert_false(apmig_text_is_plain("a\x7f", 9));
    g_assert_false(apmig_text_is_plain("a\xc2\x85", 9)); /* C1 */
    g_assert_false(apmig_text_is_plain("a\xff", 9));
    g_assert_false(apmig_text_is_plain("\xc0\xaf", 9)); /* overlong */
}

static void
test_escaped_text(void)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"K\xc3\xb6nig", "K\xc3\xb6nig"},
        {"a\nb\x1b", "a\\x0ab\\x1b"},
        {"\xff|\xc3", "\\xff|\\xc3"},
        {"\xc2\x85", "\\xc2\\x85"},
        {"0123456789abcdef", "0123456789abcdef"},
        {"0123456789abcdefg", "0123456789abc..."},
        {"0123456789\nabcdefg", "0123456789..."},
        {"0123456789ab\xc3\xb6\xc3\xb6\xc3\xb6", "0123456789ab..."},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *escaped = apmig_text_escape(cases[i][0], 16);

        g_assert_cmpstr(escaped, ==, cases[i][1]);
    }
}

/* --- ids and catalog ------------------------------------------------------------------------------ */

static GPtrArray *
read_catalog_ids(void)
{
    GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    g_assert_true(g_file_get_contents(CATALOG, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++)
        if (g_str_has_prefix(lines[i], "-- "))
            g_ptr_array_add(ids, g_strdup(lines[i] + 3));
    return ids;
}

static void
test_catalog_is_complete(void)
{
    g_autoptr(GPtrArray) catalog = read_catalog_ids();
    g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint log = 0; log < APMIG_N_LOGS; log++) {
        const char *id = apmig_log_message_id(log);

        g_assert_cmpuint(strlen(id), ==, 32);
        g_assert_cmpuint(strspn(id, "0123456789abcdef"), ==, 32);
        g_assert_true(g_hash_table_add(ids, (gpointer)id)); /* none twice */
        g_assert_true(g_ptr_array_find_with_equal_func(catalog, id, g_str_equal, NULL));
    }
    g_assert_cmpuint(catalog->len, ==, APMIG_N_LOGS);
}

/* Each entry says what happened in a subject, whose it is, in a paragraph or more what it means, and in the last one has a
 * command. */
static void
test_catalog_entries(void)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) entries = NULL;

    g_assert_true(g_file_get_contents(CATALOG, &text, NULL, NULL));
    entries = g_strsplit(text, "\n-- ", -1);
    for (guint i = 1; entries[i]; i++) {
        g_assert_nonnull(strstr(entries[i], "\nSubject: "));
        const char *body = strstr(entries[i], "\nDefined-By: apmigd\n\n");
        const char *last = g_strrstr(entries[i], "\n\n");

        g_assert_nonnull(body);
        g_assert_true(last > body + strlen("\nDefined-By: apmigd"));
        g_assert_true(strstr(last, "apmigctl ") || strstr(last, "virsh ") || strstr(last, "systemctl ") ||
                      strstr(last, "df -h "));
    }
}

/* systemd's own compiler takes it. */
static void
test_catalog_compiles(void)
{
    g_autofree char *journalctl = g_find_program_in_path("journalctl");
    g_autofree char *root = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    g_autofree char *script =
        g_strdup_printf("set -e; mkdir -p %s/usr/lib/systemd/catalog %s/var/lib/systemd/catalog;"
                        "cp " CATALOG " %s/usr/lib/systemd/catalog/;"
                        "journalctl --root=%s --update-catalog 2>&1;"
                        "journalctl --root=%s --list-catalog | grep -c ' apmigd: ';"
                        "rm -rf %s",
                        root, root, root, root, root, root);
    const char *argv[] = {"sh", "-c", script, NULL};
    g_autofree char *out = NULL;
    int status;

    if (!journalctl) {
        g_rmdir(root);
        g_test_skip("needs journalctl");
        return;
    }
    g_assert_true(
        g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(g_ascii_strtoll(out, NULL, 10), ==, APMIG_N_LOGS);
}

/* --- who asks ------------------------------------------------------------------------------------- */

static void
test_requester(void)
{
    ApmigRequester own = {.uid = geteuid()}, not_ours = {.uid = 65533}, gone = {.uid = geteuid()};
    g_autofree char *login = NULL;

    apmig_requester_look_up(&own, (guint32)getpid(), -1);
    g_assert_cmpint(own.pid, ==, getpid());
    g_assert_false(own.verified);
    /* In a container there may be no audit, and without systemd no unit. */
    if (own.login_uid >= 0) {
        g_assert_true(g_file_get_contents("/proc/self/loginuid", &login, NULL, NULL));
        g_assert_cmpint(g_ascii_strtoll(login, NULL, 10), ==, own.login_uid);
    }
    apmig_requester_clear(&own);

    /* The process of that number is another user's: it is not the one that has asked. */
    apmig_requester_look_up(&not_ours, (guint32)getpid(), -1);
    g_assert_cmpint(not_ours.login_uid, ==, -1);
    g_assert_null(not_ours.unit);

    apmig_requester_look_up(&gone, 0, -1);
    g_assert_cmpint(gone.pid, ==, -1);
    g_assert_cmpint(gone.login_uid, ==, -1);
}

/* Its number names a process only as long as the kernel says so of the pidfd. */
static void
test_requester_by_pidfd(void)
{
    ApmigRequester requester = {.uid = geteuid()};
    pid_t child = fork();
    int pidfd;

    if (child == 0)
        for (;;)
            pause();
    pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    g_assert_cmpint(pidfd, >=, 0);
    apmig_requester_look_up(&requester, (guint32)child, pidfd);
    g_assert_true(requester.verified);

    /* As when the number has become another's. */
    apmig_requester_look_up(&requester, (guint32)getpid(), pidfd);
    g_assert_false(requester.verified);
    g_assert_cmpint(requester.login_uid, ==, -1);
    g_assert_null(requester.unit);

    g_assert_cmpint(kill(child, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    apmig_requester_look_up(&requester, (guint32)child, pidfd);
    g_assert_false(requester.verified);
    g_assert_cmpint(requester.pid, ==, child);
    g_assert_cmpint(requester.login_uid, ==, -1);
    close(pidfd);
}

/* --- where the entries go ------------------------------------------------------------------------- */

static void
test_no_journal(void)
{
    if (g_test_subprocess()) {
        g_unsetenv("JOURNAL_STREAM");
        apmig_log_entry(&entry);
        g_setenv("JOURNAL_STREAM", "1:2", TRUE); /* of a stream that standard error is not */
        apmig_log(LOG_WARNING, "number %d\n", 5);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("LOCK_HELD: held \\x1b[2J\\x0aMESSAGE_ID=forged "
                              "[lock=deadbeef migration=1-2 guest=g\\x0a1]\nnumber 5\\x0a\n");
}

/* Returns: (transfer full): the datagram that came, its newlines included. */
static char *
receive(int socket)
{
    char *message = g_malloc0(65536);

    g_assert_cmpint(recv(socket, message, 65535, MSG_DONTWAIT), >, 0);
    return message;
}

static void
become_journal_stream(void)
{
    g_autofree char *stream = NULL;
    struct stat st;

    g_assert_cmpint(fstat(STDERR_FILENO, &st), ==, 0);
    stream = g_strdup_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    g_setenv("JOURNAL_STREAM", stream, TRUE);
}

static int
listen_as_journal(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL "/socket"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* Who asks stands in fields of its own, and cannot write others. */
static void
receive_request(int fd)
{
    ApmigLogEntry request = entry;
    ApmigRequester requester = {.uid = 1000, .login_uid = 0, .pid = -1, .unit = (char *)"a\nLOCK_ID=forged"};
    g_autofree char *message = NULL;

    request.change_id = (char *)"CHG\n1";
    apmig_log_request(&request, "take", &requester);
    message = receive(fd);
    g_assert_nonnull(strstr(message, "\nREQUEST=take\n"));
    g_assert_nonnull(strstr(message, "\nCALLER_UID=1000\n"));
    g_assert_nonnull(strstr(message, "\nCALLER_LOGIN_UID=0\n"));
    g_assert_null(strstr(message, "CALLER_PID="));
    g_assert_nonnull(strstr(message, "CALLER_UNIT=a\\x0aLOCK_ID=forged\n"));
    g_assert_nonnull(strstr(message, "\nCALLER_VERIFIED=no\n"));
    g_assert_nonnull(strstr(message, "\nCHANGE_ID=CHG\\x0a1\n"));
    g_assert_null(strstr(message, "\nLOCK_ID=forged"));
}

/* Found by each lock that it concerns, and by each of their changes. */
static void
receive_concerned(int fd)
{
    ApmigLockRecord first = {.id = (char *)"00000001", .change_id = (char *)"CHG1"};
    ApmigLockRecord second = {.id = (char *)"00000002", .change_id = (char *)""};
    g_autoptr(GPtrArray) locks = g_ptr_array_new();
    ApmigLogEntry migration = entry;
    g_autofree char *message = NULL;

    g_ptr_array_add(locks, &first);
    g_ptr_array_add(locks, &second);
    migration.lock_id = NULL;
    migration.locks = locks;
    apmig_log_entry(&migration);
    message = receive(fd);
    g_assert_nonnull(strstr(message, "\nLOCK_ID=00000001\nCHANGE_ID=CHG1\nLOCK_ID=00000002\n"));
    g_assert_null(strstr(message, "CHANGE_ID=\n"));
}

/* With a mount namespace of our own, in which the journal's socket is ours. */
static void
test_journal(void)
{
    g_autofree char *message = NULL, *plain = NULL, *id = NULL;
    int fd;

    if (geteuid() != 0) {
        g_test_skip("needs root, for a mount namespace of its own");
        return;
    }
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }
    g_assert_cmpint(unshare(CLONE_NEWNS), ==, 0);
    g_assert_cmpint(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), ==, 0);
    g_assert_cmpint(mount("tmpfs", "/run", "tmpfs", 0, "size=1m"), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(JOURNAL, 0755), ==, 0);
    fd = listen_as_journal();
    become_journal_stream();

    apmig_log_entry(&entry);
    message = receive(fd);
    id = g_strdup_printf("MESSAGE_ID=%s\n", apmig_log_message_id(APMIG_LOG_LOCK_HELD));
    g_assert_nonnull(strstr(message, id));
    g_assert_nonnull(strstr(message, "MESSAGE=held \\x1b[2J\\x0aMESSAGE_ID=forged\n"));
    g_assert_nonnull(strstr(message, "PRIORITY=5\n"));
    g_assert_nonnull(strstr(message, "LOCK_ID=deadbeef\n"));
    g_assert_nonnull(strstr(message, "MIGRATION_ID=1-2\n"));
    g_assert_nonnull(strstr(message, "GUEST=g\\x0a1\n"));
    g_assert_null(strstr(message, "GUEST_UUID=")); /* empty ones are left out */
    g_assert_null(strstr(message, "CODE_FILE="));
    g_assert_null(strstr(message, "CHANGE_ID="));
    g_assert_null(strstr(message, "CALLER_"));

    receive_request(fd);
    receive_concerned(fd);
    apmig_log(LOG_ERR, "plain");
    plain = receive(fd);
    g_assert_nonnull(strstr(plain, "MESSAGE=plain\n"));
    g_assert_nonnull(strstr(plain, "PRIORITY=3\n"));
    close(fd);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/text/plain", test_plain_text);
    g_test_add_func("/text/escaped", test_escaped_text);
    g_test_add_func("/log/catalog-is-complete", test_catalog_is_complete);
    g_test_add_func("/log/catalog-entries", test_catalog_entries);
    g_test_add_func("/log/catalog-compiles", test_catalog_compiles);
    g_test_add_func("/log/requester", test_requester);
    g_test_add_func("/log/requester-by-pidfd", test_requester_by_pidfd);
    g_test_add_func("/log/no-journal", test_no_journal);
    g_test_add_func("/log/journal", test_journal);
    return g_test_run();
}
