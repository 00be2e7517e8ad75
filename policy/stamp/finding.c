/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stamp/finding.h"

ApmigFinding *
apmig_finding_new(ApmigSeverity severity, char *subject, const char *code, const char *source,
                  const char *destination, const char *remedy)
{
    ApmigFinding *finding = g_new0(ApmigFinding, 1);

    finding->severity = severity;
    finding->subject = subject;
    finding->code = g_strdup(code);
    finding->source = g_strdup(source);
    finding->destination = g_strdup(destination);
    finding->remedy = g_strdup(remedy);
    return finding;
}

void
apmig_finding_free(ApmigFinding *finding)
{
    if (finding == NULL)
        return;
    g_free(finding->subject);
    g_free(finding->code);
    g_free(finding->source);
    g_free(finding->destination);
    g_free(finding->remedy);
    g_free(finding);
}

GPtrArray *
apmig_findings_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)apmig_finding_free);
}

ApmigSeverity
apmig_findings_severity(const GPtrArray *findings)
{
    ApmigSeverity severity = APMIG_SEVERITY_NONE;

    for (guint i = 0; i < findings->len; i++)
        severity = MAX(severity, ((const ApmigFinding *)findings->pdata[i])->severity);
    return severity;
}
