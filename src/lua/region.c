#include "region.h"

#include <stdlib.h>

void rscl_region_init(rscl_region *region) {
  char *start = RSCL_REGION_BYTES > 0 ? malloc(RSCL_REGION_BYTES) : NULL;
  *region = (rscl_region){.start = start, .size = start ? RSCL_REGION_BYTES : 0};
}

void rscl_region_fini(rscl_region *region) {
  free(region->start);
}
