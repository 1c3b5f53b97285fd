// SPDX-License-Identifier: Apache-2.0
#include "cli/source.h"

#include <errno.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/text.h"
#include "base/yaml.h"

void source_deinit(struct source *source)
{
    free(source->data);
    *source = (struct source)SOURCE_INIT;
}

static const char *wanted_key(const struct request *request)
{
    const char *variable = getenv("GPUSLICE_CONFIG_KEY");

    if (request->key)
        return request->key;
    return variable && *variable ? variable : NULL;
}

int source_read(const struct request *request, const char *path, struct source *ret_source,
                struct error *err)
{
    bool is_stdin = path && str_equal(path, "-");
    struct source source = {.name = is_stdin ? "<stdin>" : path, .key = wanted_key(request)};
    int r;

    if (path) {
        r = file_read(is_stdin ? "/dev/stdin" : path, YAML_MAX_BYTES, &source.data, &source.size,
                      err);
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
