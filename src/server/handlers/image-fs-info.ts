import { nowNanos } from "../../base/time.ts";
import type { ImageHandlers } from "../grpc-services.ts";
import type { Services } from "../services.ts";

/** Both lists: the kubelet refuses an answer whose second is empty while it asks for a split file system (KEP-4191). */
export function imageFsInfo({ images }: Pick<Services, "images">): ImageHandlers["ImageFsInfo"] {
  return async () => {
    const timestamp = nowNanos();
    const filesystems = (await images.fsInfo()).map(({ mountpoint, bytes, inodes }) => ({
      timestamp,
      fsId: { mountpoint },
      usedBytes: { value: BigInt(bytes) },
      inodesUsed: { value: BigInt(inodes) },
    }));
    return { imageFilesystems: filesystems, containerFilesystems: filesystems };
  };
}
