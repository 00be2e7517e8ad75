/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * polkit's agent on a terminal, where polkit wants a password: pkttyagent(1), as systemctl(1) has it.
 */
#pragma once

#include "ctl/bus.h"

typedef struct CtlAgent CtlAgent;

/* Ends it, and waits until it has given the terminal back. @agent: (nullable) (transfer full) */
void ctl_agent_stop(CtlAgent *agent);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlAgent, ctl_agent_stop)

/**
 * ctl_bus_open_to_change: as ctl_bus_open(), for a verb that may need leave
 * @ret_agent: (out) (transfer full) (nullable): asks whoever sits at the terminal for a password where polkit wants one; NULL:
 *   nobody is there to be asked, --no-ask-password, another host is asked, polkit's agent is not installed, or root calls, who
 *   needs no leave
 *
 * Blocks until the agent is there, a few seconds at most; in the main thread.
 */
sd_bus *ctl_bus_open_to_change(const CtlCommon *common, CtlAgent **ret_agent,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;
