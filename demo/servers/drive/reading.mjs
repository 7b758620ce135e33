import { z } from "zod";
import { matchesWords, READS, takePage } from "../tool.mjs";
import {
  FileId,
  FileLine,
  FolderPath,
  Permission,
  presentFiles,
  requireFile,
  requireFolder,
  toLine,
} from "./files.mjs";

/**
 * The tools of the shared drive that only look.
 *
 * @param {object} drive
 * @returns {import("../tool.mjs").Tool[]}
 */
export function readingTools(drive) {
  return [
    {
      name: "search_files",
      title: "Search files",
      description: "Search files by words in their name and text.",
      annotations: READS,
      input: z.object({
        query: z.string().min(1).describe("Words that must all occur"),
        owner: z.email().optional(),
        mime_type: z.string().optional().describe("Exact media type, for example text/csv"),
        limit: z.number().int().min(1).max(50).default(10),
        offset: z.number().int().min(0).default(0),
      }),
      output: z.object({
        files: z.array(FileLine),
        total: z.number().int(),
        next_offset: z.number().int().nullable(),
      }),
      run: ({ query, owner, mime_type, ...window }) => {
        const found = presentFiles(drive).filter(
          (file) =>
            (!owner || file.owner === owner) &&
            (!mime_type || file.mimeType === mime_type) &&
            matchesWords(query, file.name, file.text ?? ""),
        );
        const { items, total, next_offset } = takePage(found.map(toLine), window);
        return { files: items, total, next_offset };
      },
    },
    {
      name: "list_folder",
      title: "List a folder",
      description: "List the folders and files directly inside a folder.",
      annotations: READS,
      input: z.object({ path: FolderPath.default("/") }),
      output: z.object({ folders: z.array(z.string()), files: z.array(FileLine) }),
      run: ({ path }) => {
        requireFolder(drive, path);
        const inside = path === "/" ? "/" : `${path}/`;
        return {
          folders: drive.folders.filter(
            (folder) =>
              folder !== "/" && folder.startsWith(inside) && !folder.slice(inside.length).includes("/"),
          ),
          files: presentFiles(drive)
            .filter((file) => file.folder === path)
            .map(toLine),
        };
      },
    },
    {
      name: "get_file_metadata",
      title: "Get file metadata",
      description: "Read name, folder, type, size, owner and date of a file, without its content.",
      annotations: READS,
      input: z.object({ id: FileId }),
      output: z.object({ file: FileLine }),
      run: ({ id }) => ({ file: toLine(requireFile(drive, id)) }),
    },
    {
      name: "read_file",
      title: "Read a file",
      description: "Read the content of a file. Text comes as text, pictures come as pictures.",
      annotations: READS,
      input: z.object({ id: FileId }),
      run: ({ id }) => {
        const file = requireFile(drive, id);
        if (file.base64 === undefined) return file.text;
        return { content: [{ type: "image", data: file.base64, mimeType: file.mimeType }] };
      },
    },
    {
      name: "list_recent_files",
      title: "List recent files",
      description: "List the files that changed last, newest first.",
      annotations: READS,
      input: z.object({ limit: z.number().int().min(1).max(50).default(10) }),
      output: z.object({ files: z.array(FileLine) }),
      run: ({ limit }) => ({
        files: presentFiles(drive)
          .map(toLine)
          .sort((one, other) => other.modified.localeCompare(one.modified))
          .slice(0, limit),
      }),
    },
    {
      name: "list_permissions",
      title: "List permissions",
      description: "List who may open a file.",
      annotations: READS,
      input: z.object({ id: FileId }),
      output: z.object({ permissions: z.array(Permission) }),
      run: ({ id }) => ({ permissions: requireFile(drive, id).permissions }),
    },
  ];
}
