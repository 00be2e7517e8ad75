/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are a configuration with every value in its range, or an error that can be shown and names the file. */
#include "fuzz.h"
#include "base/config.h"
#include "base/text.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Returns: a descriptor of a file in memory that holds the bytes. */
static int
make_file(const guint8 *data, gsize size)
{
    int fd = memfd_create("apmigd.conf", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, data, size), ==, (gssize)size);
    return fd;
}

static void
check_config(const ApmigConfig *config)
{
    g_assert_cmpstr(config->libvirt_uri, !=, "");
    g_assert_true(g_utf8_validate(config->libvirt_uri, -1, NULL));
    g_assert_true(g_path_is_absolute(config->hooks_dir));
    g_assert_true(*config->status_dir == '\0' || g_path_is_absolute(config->status_dir));
    g_assert_cmpint(config->hook_timeout_usec, >=, G_USEC_PER_SEC);
    g_assert_cmpint(config->hook_timeout_usec, <=, 60 * G_USEC_PER_SEC);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    int fd = make_file(data, size);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) config = apmig_config_load(path, TRUE, &error);

    close(fd);
    if (config) {
        g_assert_no_error(error);
        check_config(config);
    } else {
        g_assert_nonnull(error);
        g_assert_true(g_str_has_prefix(error->message, path));
        g_assert_true(apmig_text_is_plain(error->message, strlen(path) + 1024));
    }
    return 0;
}
