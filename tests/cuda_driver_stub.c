/* A libcuda.so.1 for machines without a GPU: memory is the host's, and a stream's work is done at once, except while
   it is captured, when copies are kept for the graph. Prototypes are those of CUDA's driver API. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { void *to; const void *from; size_t bytes; } Copy;
static struct { int capturing; int count; Copy copies[64]; } stream;
static int context, destroyed;
enum { INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100 };

int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return ordinal > 1 ? NO_DEVICE : 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Stub", length); return device != 40; }
int cuDeviceGetAttribute(int *value, int key, int device) { *value = key == 75 ? 8 : key == 76 ? 7 : -1; return device != 40; }
int cuDevicePrimaryCtxRetain(void **made, int device) { *made = &context; return device != 40; }
int cuCtxSetCurrent(void *given) { return given == &context ? 0 : INVALID; }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) { *free_bytes = 3000000; *total_bytes = 8000000; return 0; }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    if (bytes > (1u << 30)) return OUT_OF_MEMORY;
    *address = (uint64_t)(uintptr_t)malloc(bytes);
    return 0;
}
int cuMemFree_v2(uint64_t address) { free((void *)(uintptr_t)address); return 0; }
int cuMemHostAlloc(void **address, size_t bytes, unsigned flags) { *address = malloc(bytes); return flags; }
int cuMemFreeHost(void *address) { free(address); return 0; }
static int copy(void *to, const void *from, size_t bytes, void *on) {
    if (on != &stream) return INVALID;
    if (stream.capturing) stream.copies[stream.count++] = (Copy){to, from, bytes};
    else memcpy(to, from, bytes);
    return 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *on) {
    return copy((void *)(uintptr_t)to, from, bytes, on);
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *on) {
    return copy(to, (const void *)(uintptr_t)from, bytes, on);
}
int cuStreamCreate(void **made, unsigned flags) { *made = &stream; return flags != 1; }
int cuStreamDestroy_v2(void *given) { return given == &stream ? 0 : INVALID; }
int cuStreamSynchronize(void *given) { return given == &stream && !stream.capturing ? 0 : INVALID; }
int cuStreamBeginCapture_v2(void *given, int mode) { stream.capturing = 1; stream.count = 0; return given != &stream || mode != 1; }
int cuStreamEndCapture(void *given, void **graph) {
    stream.capturing = 0;
    *graph = stream.copies;
    return given == &stream ? 0 : INVALID;
}
int cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long flags) {
    *made = &stream.count;
    return graph == stream.copies && flags == 0 ? 0 : INVALID;
}
int cuGraphLaunch(void *graph, void *on) {
    if (graph != &stream.count || on != &stream) return INVALID;
    for (int i = 0; i < stream.count; i++) memcpy(stream.copies[i].to, stream.copies[i].from, stream.copies[i].bytes);
    return 0;
}
int cuGraphDestroy(void *graph) { destroyed++; return graph == stream.copies ? 0 : INVALID; }
int cuGraphExecDestroy(void *graph) { return graph == &stream.count ? 0 : INVALID; }
int cuGetErrorName(int code, const char **name) {
    *name = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return *name ? 0 : INVALID;
}
int stub_destroyed(void) { return destroyed; }
