/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The watchdog is fed while the daemon lives, and only then; and the hook script is found where libvirt looks. */
#include "base/hook-presence.h"
#include "base/watchdog.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- watchdog ------------------------------------------------------------------------------------- */

typedef struct {
    char *dir, *path;
    int socket;
    gboolean alive;
    guint n_asked;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    fixture->dir = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->dir, "notify", NULL);
    g_strlcpy(address.sun_path, fixture->path, sizeof(address.sun_path));
    fixture->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fixture->socket, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_setenv("NOTIFY_SOCKET", fixture->path, TRUE);
    g_setenv("WATCHDOG_USEC", "40000", TRUE);
    g_unsetenv("WATCHDOG_PID");
    fixture->alive = TRUE;
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    close(fixture->socket);
    g_unlink(fixture->path);
    g_rmdir(fixture->dir);
    g_free(fixture->path);
    g_free(fixture->dir);
}

static gboolean
is_alive(gpointer user_data)
{
    Fixture *fixture = user_data;

    fixture->n_asked++;
    return fixture->alive;
}

/* Returns: how many times the watchdog was fed, and that it was told nothing else. */
static guint
count_messages(Fixture *fixture)
{
    char message[64] = "";
    guint n = 0;

    while (recv(fixture->socket, message, sizeof(message) - 1, 0) > 0) {
        g_assert_true(g_str_has_prefix(message, "WATCHDOG=1"));
        n++;
    }
    return n;
}

static void
run_until_asked(Fixture *fixture, guint times)
{
    for (guint until = fixture->n_asked + times; fixture->n_asked < until;)
        g_main_context_iteration(NULL, TRUE);
}

static void
test_fed_while_alive(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigWatchdog) watchdog = apmig_watchdog_new(is_alive, fixture);
    gint64 start = g_get_monotonic_time();

    g_assert_nonnull(watchdog);
    run_until_asked(fixture, 3);
    g_assert_cmpuint(count_messages(fixture), ==, 3);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 50 * 1000); /* at half of the interval, not faster */
}

static void
test_not_fed_when_dead(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigWatchdog) watchdog = apmig_watchdog_new(is_alive, fixture);

    fixture->alive = FALSE;
    run_until_asked(fixture, 3);
    g_assert_cmpuint(count_messages(fixture), ==, 0);
    fixture->alive = TRUE; /* and again when it recovers in time */
    run_until_asked(fixture, 1);
    g_assert_cmpuint(count_messages(fixture), ==, 1);
}

static void
test_free_ends_it(Fixture *fixture, gconstpointer data)
{
    apmig_watchdog_free(apmig_watchdog_new(is_alive, fixture));
    g_usleep(30 * 1000);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpuint(fixture->n_asked, ==, 0);
}

static void
test_not_asked_for(Fixture *fixture, gconstpointer data)
{
    g_unsetenv("WATCHDOG_USEC");
    g_assert_null(apmig_watchdog_new(is_alive, fixture));
    apmig_watchdog_free(NULL);
}

/* --- hook presence -------------------------------------------------------------------------------- */

static void
assert_problem(const char *hooks_dir, const char *hint)
{
    g_autofree char *problem = NULL;
    gboolean installed = apmig_hook_is_installed(hooks_dir, &problem);

    g_assert_true(installed == !hint);
    g_assert_true(apmig_hook_is_installed(hooks_dir, NULL) == installed);
    if (!hint) {
        g_assert_null(problem);
        return;
    }
    g_assert_nonnull(strstr(problem, hint));
    g_assert_nonnull(strstr(problem, "qemu.d/zz-apmigd"));
}

static void
test_hook_presence(void)
{
    g_autofree char *dir = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    g_autofree char *folder = g_build_filename(dir, "qemu.d", NULL);
    g_autofree char *hook = g_build_filename(folder, APMIG_HOOK_NAME, NULL);
    g_autofree char *real = g_build_filename(dir, "script", NULL);

    assert_problem(dir, "does not exist");
    g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
    assert_problem(dir, "does not exist");
    g_assert_cmpint(symlink(real, hook), ==, 0);
    assert_problem(dir, "does not exist");
    g_assert_true(g_file_set_contents(real, "#!/bin/sh\n", -1, NULL));
    g_assert_cmpint(g_chmod(real, 0644), ==, 0);
    assert_problem(dir, "not executable");
    g_assert_cmpint(g_chmod(real, 0755), ==, 0);
    assert_problem(dir, NULL);
    g_assert_cmpint(g_unlink(hook), ==, 0);
    g_assert_cmpint(g_mkdir(hook, 0755), ==, 0);
    assert_problem(dir, "no regular file");
    g_rmdir(hook);
    g_rmdir(folder);
    g_assert_true(g_file_set_contents(folder, "", 0, NULL));
    assert_problem(dir, "cannot be looked at");
    g_unlink(folder);
    g_unlink(real);
    g_rmdir(dir);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add("/watchdog/" name, Fixture, NULL, set_up, func, tear_down)
    ADD("fed-while-alive", test_fed_while_alive);
    ADD("not-fed-when-dead", test_not_fed_when_dead);
    ADD("free-ends-it", test_free_ends_it);
    ADD("not-asked-for", test_not_asked_for);
    g_test_add_func("/hook-presence", test_hook_presence);
    return g_test_run();
}
