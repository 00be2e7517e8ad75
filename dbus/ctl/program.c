/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The program apmigctl. The hook, which runs whenever a guest comes in, is in it; what all other verbs are made of is in a
 * module that is loaded for them, since loading the libraries that it needs (JSON-GLib, and with it GIO) would take the hook
 * longer than its work.
 */
#include <dlfcn.h>
#include <locale.h>
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/hook-permit.h"

/* In the module, which is found by the program's run path, where it was built or is installed. It is never closed: it has the
 * words of errors. Returns: (nullable): NULL: see dlerror(). */
static void *
find_function(const char *name)
{
    void *module = dlopen(CTL_MODULE, RTLD_LAZY);

    return module ? dlsym(module, name) : NULL;
}

static int
run_module(int argc, char **argv)
{
    int (*run)(int argc, char **argv);

    *(void **)&run = find_function("ctl_main");
    if (run)
        return run(argc, argv);
    fprintf(stderr, "apmigctl: its verbs cannot be loaded (%s): reinstall apmigd\n", dlerror());
    return CTL_EXIT_FAILURE;
}

/* The one of the module: a permit is looked for when there is no answer of apmigd, and then time matters no more. */
char *
ctl_hook_use_permit(const char *uuid, const char *name, GError **error)
{
    char *(*use_permit)(const char *uuid, const char *name, GError **error);

    *(void **)&use_permit = find_function("ctl_hook_use_permit");
    if (use_permit)
        return use_permit(uuid, name, error);
    g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE, "its permits cannot be read (%s)", dlerror());
    return NULL;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int status;

    setlocale(LC_ALL, "");
    if (argc < 2 || !g_str_equal(argv[1], "hook"))
        return run_module(argc, argv);
    status = ctl_verb_hook(argc - 1, argv + 1, &error);
    return error ? ctl_exit_from_error(error) : status;
}
