import { memoryBucket } from "../memory-bucket.ts";
import { bucketConformance } from "./bucket.ts";

bucketConformance("memory", memoryBucket);
