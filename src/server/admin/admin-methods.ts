import { crid } from "../../../api/crid/admin/v1/admin.js";
import { change, duplex, type HandlersOf, read, stream } from "../methods.ts";

const { v1 } = crid.admin;

/** The RPCs of crid.admin.v1.Admin. */
export const adminMethods = {
  ListImages: read(v1.ListImagesRequest, v1.ListImagesResponse),
  PullImage: stream(v1.PullImageRequest, v1.PullImageResponse, "change"),
  ImportImages: duplex(v1.ImportImagesRequest, v1.ImportImagesResponse),
  ExportImages: stream(v1.ExportImagesRequest, v1.ExportImagesResponse),
  MountImage: change(v1.MountImageRequest, v1.MountImageResponse),
  UnmountImage: change(v1.UnmountImageRequest, v1.UnmountImageResponse),
  ListMounts: read(v1.ListMountsRequest, v1.ListMountsResponse),
  TagImage: change(v1.TagImageRequest, v1.TagImageResponse),
  RemoveImage: change(v1.RemoveImageRequest, v1.RemoveImageResponse),
  CheckImages: stream(v1.CheckImagesRequest, v1.CheckImagesResponse, "change"),
  ListPulls: read(v1.ListPullsRequest, v1.ListPullsResponse),
  ListContent: stream(v1.ListContentRequest, v1.ListContentResponse),
  ReadContent: stream(v1.ReadContentRequest, v1.ReadContentResponse),
  ExplainImage: read(v1.ExplainImageRequest, v1.ExplainImageResponse),
  RebuildState: change(v1.RebuildStateRequest, v1.RebuildStateResponse),
};

export type AdminHandlers = HandlersOf<typeof adminMethods>;
