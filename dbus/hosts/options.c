/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/options.h"

#include "hosts/host-names.h"

#define SILENCE_USEC (30 * G_USEC_PER_SEC)

void
hosts_options_clear(HostsOptions *options)
{
    ctl_common_clear(&options->common);
    g_free(options->list);
    g_free(options->file);
    g_free(options->host_timeout);
    g_strfreev(options->except_words);
    g_clear_pointer(&options->names, g_ptr_array_unref);
    g_clear_pointer(&options->except, g_ptr_array_unref);
    g_clear_pointer(&options->asked, g_ptr_array_unref);
}

static gboolean
has_name(const GPtrArray *names, const char *name)
{
    return g_ptr_array_find_with_equal_func((GPtrArray *)names, name, g_str_equal, NULL);
}

static gboolean
split_names(HostsOptions *options, GError **error)
{
    options->except = g_ptr_array_new();
    options->asked = g_ptr_array_new();
    for (guint i = 0; options->except_words && options->except_words[i]; i++) {
        g_autofree char *shown = ctl_escape(options->except_words[i]);

        if (!has_name(options->names, options->except_words[i])) {
            g_set_error(
                error, CTL_ERROR, CTL_EXIT_USAGE,
                "--except: '%s' is none of the hosts: give its name as it is there, in each case once for one host",
                shown);
            return FALSE;
        }
        if (!has_name(options->except, options->except_words[i]))
            g_ptr_array_add(options->except, options->except_words[i]);
    }
    for (guint i = 0; i < options->names->len; i++)
        if (!has_name(options->except, g_ptr_array_index(options->names, i)))
            g_ptr_array_add(options->asked, g_ptr_array_index(options->names, i));
    if (options->asked->len > 0)
        return TRUE;
    g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE,
                        "--except: all hosts are left out: name fewer, so that one is asked");
    return FALSE;
}

static gboolean
read_names(HostsOptions *options, GError **error)
{
    if (options->common.host || !options->list == !options->file) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "give one of --host, --hosts and --hosts-file");
        return FALSE;
    }
    options->names =
        options->list ? hosts_names_parse(options->list, error) : hosts_names_read(options->file, error);
    return options->names && split_names(options, error);
}

gboolean
hosts_parse_options(int *argc, char ***argv, const CtlUsage *usage, HostsOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"hosts", 0, 0, G_OPTION_ARG_STRING, &options->list,
         "Ask the apmigd of all these hosts at once, over ssh", "HOST,HOST..."},
        {"hosts-file", 0, 0, G_OPTION_ARG_FILENAME, &options->file,
         "The same of a file, one host a line; # begins a comment", "FILE"},
        {"except", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->except_words,
         "Leave this one of them out: nothing is proven of it, and its keys must not be changed; may be given again",
         "HOST"},
        {"host-timeout", 0, 0, G_OPTION_ARG_STRING, &options->host_timeout,
         "A host that is silent for so long counts as unreachable (default: 30s)", "TIME"},
    };
    g_autoptr(GArray) all = g_array_new(TRUE, FALSE, sizeof(GOptionEntry));
    CtlUsage merged = *usage;

    g_array_append_vals(all, entries, G_N_ELEMENTS(entries));
    for (const GOptionEntry *entry = usage->entries; entry && entry->long_name; entry++)
        g_array_append_val(all, *entry);
    merged.entries = (const GOptionEntry *)(gpointer)all->data;
    options->silence_usec = SILENCE_USEC;
    if (!ctl_parse_options(argc, argv, &merged, &options->common, error))
        return FALSE;
    return (!options->host_timeout ||
            ctl_parse_duration(options->host_timeout, &options->silence_usec, error)) &&
           read_names(options, error);
}

HostsCrew *
hosts_crew_of(const HostsOptions *options)
{
    return hosts_crew_new(options->asked, options->silence_usec, options->common.quiet);
}
