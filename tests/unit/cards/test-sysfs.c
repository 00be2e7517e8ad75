/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries that hang: the others are read, nobody waits long, and each keeps one thread at most. */
#include "cards/sysfs.h"

/* The entry that hangs does so while this is held. */
static GMutex gate;
static gint n_calls; /* of that */

static gpointer
read_entry(const char *root, const char *name)
{
    if (g_str_equal(name, "hangs")) {
        g_atomic_int_inc(&n_calls);
        g_mutex_lock(&gate);
        g_mutex_unlock(&gate);
    }
    return g_str_equal(name, "nothing") ? NULL : g_strconcat(root, "/", name, NULL);
}

static gint
compare(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

/* Returns: (transfer full): what is read, and after a bar what is not. */
static char *
read_entries(ApmigSysfs *sysfs)
{
    const char *const entries[] = {"a", "hangs", "nothing", "b"};
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autoptr(GPtrArray) unread = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) results = NULL;
    g_autofree char *read = NULL, *rest = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(entries); i++)
        g_ptr_array_add(names, (char *)entries[i]);
    results = apmig_sysfs_read(sysfs, names, read_entry, g_free, unread);
    g_ptr_array_sort(results, compare);
    g_ptr_array_add(results, NULL);
    g_ptr_array_add(unread, NULL);
    read = g_strjoinv(" ", (char **)results->pdata);
    rest = g_strjoinv(" ", (char **)unread->pdata);
    return g_strjoin("|", read, rest, NULL);
}

static void
assert_read(ApmigSysfs *sysfs, const char *expected)
{
    g_autofree char *read = read_entries(sysfs);

    g_assert_cmpstr(read, ==, expected);
}

static void
test_all_is_well(void)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new("/s");

    assert_read(sysfs, "/s/a /s/b /s/hangs|");
}

static void
test_one_hangs(void)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new("/s");
    g_autofree char *read = NULL;

    g_mutex_lock(&gate);
    n_calls = 0;
    for (guint i = 0; i < 3; i++)
        assert_read(sysfs, "/s/a /s/b|hangs");
    g_assert_cmpint(g_atomic_int_get(&n_calls), ==, 1);
    g_mutex_unlock(&gate);
    do { /* its thread has still to return */
        g_free(read);
        read = read_entries(sysfs);
    } while (!g_str_equal(read, "/s/a /s/b /s/hangs|"));
    g_assert_cmpint(g_atomic_int_get(&n_calls), ==, 2);
}

/* The thread that is left behind has what it needs. */
static void
test_freed_meanwhile(void)
{
    ApmigSysfs *sysfs = apmig_sysfs_new("/s");

    g_mutex_lock(&gate);
    assert_read(sysfs, "/s/a /s/b|hangs");
    apmig_sysfs_unref(sysfs);
    g_mutex_unlock(&gate);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sysfs/all-is-well", test_all_is_well);
    g_test_add_func("/sysfs/one-hangs", test_one_hangs);
    g_test_add_func("/sysfs/freed-meanwhile", test_freed_meanwhile);
    return g_test_run();
}
