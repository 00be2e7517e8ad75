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

/* The module is found by the program's run path, where it was built or is installed. */
static int
run_module(int argc, char **argv)
{
    void *module = dlopen(CTL_MODULE, RTLD_LAZY);
    int (*run)(int argc, char **argv);

    *(void **)&run = module ? dlsym(module, "hosts_main") : NULL;
    if (run)
        return run(argc, argv);
    fprintf(stderr, "apmigctl: its verbs cannot be loaded (%s): reinstall apmigd\n", dlerror());
    return CTL_EXIT_FAILURE;
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
