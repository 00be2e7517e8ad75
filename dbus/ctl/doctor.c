/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/doctor.h"

#include "act/client.h"
#include "ctl/ctl.h"
#include "fence/client.h"
#include "ctl/options.h"
#include "ctl/view.h"

/* Returns: (transfer full): what the file says, or the defaults: then that is a finding. */
static ApmigConfig *
load_config(CtlDoctor *doctor, gboolean must_exist)
{
    g_autoptr(GError) error = NULL;
    ApmigConfig *config = apmig_config_load(doctor->config_file, must_exist, &error);

    if (config)
        return config;
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "config",
                     "correct it, and try: apmigd --check-config", "The configuration does not read: %s.",
                     error->message);
    return apmig_config_load("/dev/null", FALSE, NULL);
}

void
ctl_doctor_init(CtlDoctor *doctor)
{
    doctor->findings = ctl_findings_new();
    doctor->daemon_uid = -1;
}

void
ctl_doctor_clear(CtlDoctor *doctor)
{
    g_clear_pointer(&doctor->findings, g_ptr_array_unref);
    g_clear_pointer(&doctor->manager, json_object_unref);
    g_clear_pointer(&doctor->locks, g_ptr_array_unref);
    g_clear_pointer(&doctor->migrations, g_ptr_array_unref);
}

static const char doctor_summary[] =
    "Looks whether apmigd, its hook and its helpers are in place on this host, and whether libvirt calls the\n"
    "hook and can end migrations when many are under way. Prints a line for each, and what to do where\n"
    "something is wrong. Run it as root: others cannot look at everything. Nothing is changed.\n"
    "Exits with 0 when all is well, with 1 when something is not, or cannot be known.";

int
ctl_verb_doctor(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    g_autofree char *config_file = NULL;
    g_autofree char *act_socket = NULL;
    g_autofree char *fence_socket = NULL;
    const GOptionEntry entries[] = {
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &config_file,
         "Look at FILE and the folders beside it instead of " APMIG_CONFIG_FILE, "FILE"},
        {"act-socket", 0, 0, G_OPTION_ARG_FILENAME, &act_socket,
         "The socket of apmigd-act (default: " APMIG_ACT_SOCKET ")", "PATH"},
        {"fence-socket", 0, 0, G_OPTION_ARG_FILENAME, &fence_socket,
         "The helper's socket (default: " APMIG_FENCE_SOCKET ")", "PATH"},
        {NULL},
    };
    const CtlUsage usage = {"", doctor_summary, NULL, entries, 0, 0};
    g_auto(CtlDoctor) doctor = {0};
    g_autoptr(ApmigConfig) config = NULL;
    g_autoptr(sd_bus) bus = NULL;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_USAGE;
    if (common.host) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE,
                            "it looks at files of this host: run it on the other one");
        return CTL_EXIT_USAGE;
    }
    bus = ctl_bus_open_host(NULL, error);
    if (!bus)
        return CTL_EXIT_UNREACHABLE;
    ctl_doctor_init(&doctor);
    doctor.bus = bus;
    doctor.config_file = config_file ? config_file : APMIG_CONFIG_FILE;
    doctor.act_socket = act_socket ? act_socket : APMIG_ACT_SOCKET;
    doctor.fence_socket = fence_socket ? fence_socket : APMIG_FENCE_SOCKET;
    doctor.config = config = load_config(&doctor, config_file != NULL);
    ctl_doctor_check_daemon(&doctor);
    ctl_doctor_check_read_only(&doctor);
    ctl_doctor_check_guests(&doctor);
    ctl_doctor_check_hook(&doctor);
    ctl_doctor_check_workers(&doctor);
    ctl_doctor_check_folders(&doctor);
    ctl_doctor_check_permissions(&doctor);
    ctl_doctor_check_helpers(&doctor);

    if (common.json != CTL_JSON_OFF)
        ctl_print_json(ctl_findings_to_json(doctor.findings), common.json);
    else
        ctl_findings_print(doctor.findings, common.quiet);
    return ctl_findings_severity(doctor.findings) == APMIG_SEVERITY_NONE ? CTL_EXIT_OK : CTL_EXIT_FAILURE;
}
