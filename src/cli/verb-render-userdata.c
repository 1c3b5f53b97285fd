// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <errno.h>

#include "base/text.h"
#include "cli/target.h"
#include "cli/userdata.h"

/* EC2 refuses more. */
enum { USERDATA_MAX = 16384 };

static int observe(const struct request *request, struct target *target, struct error *err)
{
    int r = target_observe(request, NULL, target, err);

    return r == 0 ? target_know_boards(&target->inventory, err) : r;
}

static int render_script(const struct request *request, const struct migchoice *choice,
                         const struct target *target, struct text *text, struct error *err)
{
    cleanup_miglines struct miglines lines = MIGLINES_INIT;
    const enum userdata_image image =
        request->image && str_equal(request->image, "ubuntu") ? USERDATA_UBUNTU : USERDATA_AL2023;
    int r = request->machine ? miglines_for(choice, &target->inventory, &lines, err)
                             : miglines_any(choice, &lines, err);

    if (r == 0)
        userdata_add(image, &lines, text);
    return r;
}

static int render(const struct request *request, const struct migchoice *choice, struct text *text,
                  struct error *err)
{
    cleanup_target struct target target = TARGET_INIT;
    const bool is_bottlerocket = request->image && str_equal(request->image, "bottlerocket");
    int r = request->machine ? observe(request, &target, err) : 0;

    if (r < 0)
        return r;
    if (is_bottlerocket && !request->machine)
        return error_set(err, -EINVAL,
                         "Bottlerocket's settings name the model of the GPU; give --machine NAME");
    return is_bottlerocket ? userdata_add_bottlerocket(choice, &target.inventory, text, err)
                           : render_script(request, choice, &target, text, err);
}

enum exit_status verb_render_userdata(const struct request *request)
{
    cleanup_migchoice struct migchoice choice = MIGCHOICE_INIT;
    cleanup_text struct text text = TEXT_INIT;
    struct error err = ERROR_INIT;
    int r = migchoice_read(request, &choice);

    if (r < 0)
        return EXIT_ERRORS;
    r = render(request, &choice, &text, &err);
    if (r == 0 && text_failed(&text))
        r = error_set_errno(&err, -ENOMEM, "cannot render user data");
    if (r == 0 && text.length > USERDATA_MAX)
        r = error_set(
            &err, -EMSGSIZE,
            "the user data has %zu bytes, and EC2 takes %d: leave entries out of the label",
            text.length, USERDATA_MAX);
    if (r < 0) {
        complain("%s", error_text(&err));
        return EXIT_ERRORS;
    }
    fputs(text_string(&text), stdout);
    return EXIT_CLEAN;
}
