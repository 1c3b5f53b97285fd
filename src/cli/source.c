// SPDX-License-Identifier: Apache-2.0
#include "cli/source.h"

#include <errno.h>

#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"

void source_deinit(struct source *source)
{
    free(source->data);
    *source = (struct source)SOURCE_INIT;
}

int source_read(const struct request *request, struct source *ret_source, struct error *err)
{
    bool is_stdin = request->config && str_equal(request->config, "-");
    struct source source = {
        .name = is_stdin ? "<stdin>" : request->config,
        .key = request->key,
    };
    int r;

    if (request->config) {
        r = file_read(is_stdin ? "/dev/stdin" : request->config, YAML_MAX_BYTES, &source.data,
                      &source.size, err);
        if (r < 0)
            return r;
    }
    *ret_source = source;
    return 0;
}

int source_parse(const struct source *source, enum config_strictness strictness,
                 struct problems *problems, struct config **ret_config, struct error *err)
{
    if (!source->name)
        return config_load(&(struct config_request){.strictness = strictness}, problems, ret_config,
                           err);
    return config_parse(source->data, source->size,
                        &(struct config_request){
                            .source = source->name, .key = source->key, .strictness = strictness},
                        problems, ret_config, err);
}
