import { createService } from "../../core/index.ts";
import { aws } from "../../functions/aws/platform.ts";

/**
 * Deliveries of a trigger, in a process of their own: runs the job of the first argument on S3, with locks of the
 * milliseconds of the second, as often at once as the third says, and prints the outcomes.
 */
const [message = "", timing = "{}", times = "1"] = process.argv.slice(2);
const service = createService(aws, { listen: (line) => process.stderr.write(`${line}\n`), timing: JSON.parse(timing) });
const deliveries = Array.from({ length: Number(times) }, () => service.run(JSON.parse(message)));
process.stdout.write(JSON.stringify(await Promise.all(deliveries)));
