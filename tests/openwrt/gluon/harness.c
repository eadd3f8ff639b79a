/* Loads a provider as respondd does and prints what each request gives, as one JSON object. */

#include "respondd.h"

#include <dlfcn.h>
#include <json-c/json.h>
#include <stdio.h>

int main(int argc, char **argv) {
	void *handle = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}

	const struct respondd_provider_info *provider = dlsym(handle, "respondd_providers");
	struct json_object *answers = json_object_new_object();
	for (; provider && provider->request; provider++)
		json_object_object_add(answers, provider->request, provider->provider());

	puts(json_object_to_json_string_ext(answers, JSON_C_TO_STRING_PLAIN));
	json_object_put(answers);
	return 0;
}
