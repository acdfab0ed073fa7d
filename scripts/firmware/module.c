// The module of a program, and how its code is loaded: -DROUTE_STATIC (it is linked in; query.h names the function that
// its object exports), -DROUTE_EMBEDDED (the module holds an ELF file), or -DROUTE_VMVX (bytecode).
#include "model_module.h"

// A flatbuffer must be aligned to 16 bytes, and code and constants in it to 64.
__asm__(
    ".section .rodata.model_module, \"a\"\n.balign 64\n.global model_module\nmodel_module:\n"
    ".incbin \"module.vmfb\"\n.global model_module_end\nmodel_module_end:\n.byte 0\n.previous\n");

#if defined(ROUTE_STATIC)
#include "query.h"
extern const void **LIBRARY_QUERY(int, const void *);
model_loader_t *const model_loader = model_loader_static;
void *const model_library_query = (void *)LIBRARY_QUERY;
#elif defined(ROUTE_EMBEDDED)
model_loader_t *const model_loader = model_loader_embedded;
#elif defined(ROUTE_VMVX)
model_loader_t *const model_loader = model_loader_vmvx;
#else
#error "say how the module's code is loaded: -DROUTE_STATIC, -DROUTE_EMBEDDED or -DROUTE_VMVX"
#endif
