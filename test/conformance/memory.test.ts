import { memoryBucket } from "../memory-bucket.ts";
import { bucketConformance, holdingConformance } from "./bucket.ts";

bucketConformance("memory", memoryBucket);
holdingConformance(memoryBucket);
