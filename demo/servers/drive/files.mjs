import { z } from "zod";

export const FileId = z
  .string()
  .regex(/^f-\d+$/)
  .describe("File id, for example f-101");
export const FolderPath = z.string().regex(/^\//).describe("Folder path, for example /Finance/2026");

export const FileLine = z.object({
  id: z.string(),
  uri: z.string(),
  name: z.string(),
  folder: z.string(),
  mime_type: z.string(),
  size_bytes: z.number().int(),
  owner: z.string(),
  modified: z.string(),
});
export const Permission = z.object({
  grantee: z.string().describe("An e-mail address or group:{name}"),
  role: z.enum(["owner", "writer", "reader"]),
});

export const uriOf = ({ id }) => `drive://acme/files/${id}`;
export const bytesOf = (file) =>
  file.base64 === undefined ? Buffer.from(file.text, "utf8") : Buffer.from(file.base64, "base64");

/** The one-line view of a file. */
export function toLine(file) {
  return { ...file, uri: uriOf(file), mime_type: file.mimeType, size_bytes: bytesOf(file).length };
}

/** What is not in the trash. */
export const presentFiles = (drive) => drive.files.filter((file) => !file.trashed);

export function requireFile(drive, id) {
  const file = presentFiles(drive).find((candidate) => candidate.id === id);
  if (!file)
    throw new Error(`There is no file ${id}, or it is in the trash. Use search_files to find the id.`);
  return file;
}

export function requireFolder(drive, path) {
  if (drive.folders.includes(path)) return path;
  throw new Error(`There is no folder ${path}. Folders are ${drive.folders.join(", ")}.`);
}
