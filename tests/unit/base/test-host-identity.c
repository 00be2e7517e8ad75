/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a host is called in stamps: clones of one disk, on machines that differ, are two hosts. */
#include "base/host-identity.h"

#include <glib/gstdio.h>
#include <string.h>

#define UUID "4c4c4544-0042-3510-8051-b7c04f4a3132"

typedef struct {
    char *root;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->root = g_dir_make_tmp("apmigd-host-XXXXXX", NULL);
}

static void
remove_file(const Fixture *fixture, const char *name)
{
    g_autofree char *path = g_build_filename(fixture->root, name, NULL);

    g_remove(path);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = {
        "sysinfo", "class/dmi/id/product_uuid", "class/dmi/id", "class/dmi", "class", ""};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        remove_file(fixture, names[i]);
    g_free(fixture->root);
}

static void
write_file(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->root, name, NULL);
    g_autofree char *folder = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* Returns: (transfer full): "" without an id. */
static char *
id_of(const Fixture *fixture, const char *basis)
{
    g_autoptr(ApmigHostIdentity) identity = apmig_host_identity_new(fixture->root, fixture->root);

    g_assert_cmpstr(identity->name, ==, g_get_host_name());
    if (basis)
        g_assert_cmpstr(identity->basis, ==, basis);
    g_assert_true(!identity->id == g_str_equal(identity->basis, "none"));
    g_assert_true(!identity->id == (identity->no_id != NULL));
    if (!identity->id)
        return g_strdup("");
    g_assert_true(g_uuid_string_is_valid(identity->id));
    return g_steal_pointer(&identity->id);
}

/* Returns: (transfer full): of a host with that in /proc/sysinfo */
static char *
id_with_sysinfo(const Fixture *fixture, const char *sysinfo)
{
    write_file(fixture, "sysinfo", sysinfo);
    return id_of(fixture, "hardware");
}

static char *
id_with_dmi(const Fixture *fixture, const char *uuid, const char *basis)
{
    write_file(fixture, "class/dmi/id/product_uuid", uuid);
    return id_of(fixture, basis);
}

#define SYSINFO(sequence, capacity, lpar, cpus, vm)                                                          \
    "Manufacturer:         IBM             \nType:                 3931\nSequence Code:        " sequence    \
    "\nPlant:                02  \nModel Capacity:       " capacity "\n\nCPUs Total:           " cpus        \
    "\n\nLPAR Number:          " lpar "\nLPAR Name:            ZKVM" cpus "\n" vm
#define VM(name)                                                                                             \
    "\nVM00 Name:            " name "    \nVM00 Control Program: z/VM    7.3.0\nVM00 CPUs Total:      4\n"

static void
test_sysinfo(Fixture *fixture, gconstpointer data)
{
    static const char *const others[] = {
        SYSINFO("0000000000012346", "701", "12", "8", ""),
        SYSINFO("0000000000012345", "701", "13", "8", ""),
        SYSINFO("0000000000012345", "701", "12", "8", VM("LINUX1")),
        SYSINFO("0000000000012345", "701", "12", "8", VM("LINUX2")),
        SYSINFO("0000000000012345", "701", "12", "8",
                "\nVM00 Name:            kvm\nVM00 UUID:            " UUID "\n"),
        SYSINFO("0000000000012345", "701", "12", "8", "LPAR UUID:            " UUID "\n"),
    };
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    char *first = id_with_sysinfo(fixture, SYSINFO("0000000000012345", "701", "12", "8", ""));
    g_autofree char *later = NULL;

    g_hash_table_add(ids, first);
    for (guint i = 0; i < G_N_ELEMENTS(others); i++)
        g_hash_table_add(ids, id_with_sysinfo(fixture, others[i]));
    g_assert_cmpuint(g_hash_table_size(ids), ==, G_N_ELEMENTS(others) + 1);
    /* Processors and capacity come and go. */
    later = id_with_sysinfo(fixture, SYSINFO("0000000000012345", "705", "12", "16", ""));
    g_assert_cmpstr(later, ==, first);
}

static void
test_dmi(Fixture *fixture, gconstpointer data)
{
    g_autofree char *alone = id_of(fixture, NULL);
    g_autofree char *first = id_with_dmi(fixture, UUID "\n", "hardware");
    g_autofree char *upper = id_with_dmi(fixture, "4C4C4544-0042-3510-8051-B7C04F4A3132\n", "hardware");
    g_autofree char *other = id_with_dmi(fixture, "4c4c4544-0042-3510-8051-b7c04f4a3133\n", "hardware");

    g_assert_cmpstr(first, ==, upper);
    g_assert_cmpstr(first, !=, other);
    g_assert_cmpstr(first, !=, alone);
    g_assert_null(strstr(first, "4c4c4544"));
}

/* Firmware that knows no UUID. */
static void
test_no_hardware(Fixture *fixture, gconstpointer data)
{
    static const char *const texts[] = {"", "Not Specified\n", "00000000-0000-0000-0000-000000000000\n",
                                        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n"};
    g_autofree char *alone = id_of(fixture, NULL);

    write_file(fixture, "sysinfo", "Model: 1\nCPUs Total: 8\n");
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *id = id_with_dmi(fixture, texts[i], *alone ? "machine-id" : "none");

        g_assert_cmpstr(id, ==, alone);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add("/host-identity/" name, Fixture, NULL, set_up, func, tear_down)
    ADD("sysinfo", test_sysinfo);
    ADD("dmi", test_dmi);
    ADD("no-hardware", test_no_hardware);
    return g_test_run();
}
