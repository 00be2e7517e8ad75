/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SENTENCE 1024

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Of GLib itself: its key file sets this error over an earlier one, and warns of it. */
static const char known_fault[] = "Key file contains escape character at end of line";

/* What is warned of is a fault. It ends in SIGABRT, which libFuzzer catches, where GLib's own way is SIGTRAP. */
static void
abort_on_warning(const char *domain, GLogLevelFlags level, const char *message, gpointer data)
{
    g_printerr("%s: %s\n", domain ? domain : "apmigd", message);
    if (level & (G_LOG_FLAG_FATAL | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING) &&
        !g_str_has_suffix(message, known_fault))
        abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    g_log_set_default_handler(abort_on_warning, NULL);
    return 0;
}

char *
fuzz_terminate(const guint8 *data, gsize size)
{
    char *text = g_malloc(size + 1);

    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

void
fuzz_check_error(const GError *error, ApmigError code)
{
    g_assert_error(error, APMIG_ERROR, (int)code);
    g_assert_cmpstr(error->message, !=, "");
    g_assert_true(apmig_text_is_plain(error->message, MAX_SENTENCE));
}
