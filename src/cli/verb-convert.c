// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>

#include "cli/findings.h"
#include "cli/objects.h"
#include "cli/source.h"
#include "cli/target.h"
#include "karpenter/convert.h"

static enum exit_status convert(const struct source *source, const struct catalog *catalog)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_documents struct documents documents = DOCUMENTS_INIT;
    int r = problems_set_source(&problems, source->name);

    if (r == 0)
        r = convert_provisioners(source->data, source->size, catalog, &problems, &documents);
    findings_print(&problems, source, false, stderr);
    if (r == 0)
        r = objects_print(&documents, stdout);
    if (r == -ENOMEM)
        complain("out of memory");
    return r == -ENOMEM ? EXIT_UNREADABLE : findings_status(&problems);
}

enum exit_status verb_convert(const struct request *request)
{
    cleanup_source struct source source = SOURCE_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    struct error err = ERROR_INIT;

    if (!request->config) {
        complain("give the file that has the Provisioner, or - for standard input");
        return EXIT_USAGE;
    }
    if (source_read(request, request->config, &source, &err) < 0 ||
        target_load_catalog(&catalog, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    return convert(&source, &catalog);
}
