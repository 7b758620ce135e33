import { z } from "zod";
import { INTEGRATION_ACCOUNT } from "../../data/employees.mjs";
import { ADDS, DESTROYS, SETS } from "../tool.mjs";
import {
  FileId,
  FileLine,
  FolderPath,
  Permission,
  requireFile,
  requireFolder,
  toLine,
  uriOf,
} from "./files.mjs";

const TEXT_TYPES = ["text/plain", "text/markdown", "text/csv", "application/json"];

/**
 * The tools of the shared drive that change it.
 *
 * @param {object} drive
 * @param {() => import("@modelcontextprotocol/server").ServerNotifier} notify
 * @returns {import("../tool.mjs").Tool[]}
 */
export function writingTools(drive, notify) {
  return [
    {
      name: "upload_file",
      title: "Upload a file",
      description: "Put a new text file into a folder.",
      annotations: ADDS,
      input: z.object({
        folder: FolderPath,
        name: z
          .string()
          .min(1)
          .max(120)
          .regex(/^[^/]+$/, "A name has no slash"),
        mime_type: z.enum(TEXT_TYPES).default("text/plain"),
        text: z.string().max(1_000_000),
      }),
      output: z.object({ file: FileLine }),
      run: ({ folder, name, mime_type, text }) => {
        requireFolder(drive, folder);
        const file = {
          id: `f-${Math.max(...drive.files.map(({ id }) => Number(id.slice(2)))) + 1}`,
          name,
          folder,
          owner: INTEGRATION_ACCOUNT,
          mimeType: mime_type,
          text,
          permissions: [{ grantee: INTEGRATION_ACCOUNT, role: "owner" }],
          modified: new Date().toISOString(),
          trashed: false,
        };
        drive.files.push(file);
        notify().resourcesChanged();
        return { file: toLine(file) };
      },
    },
    {
      name: "move_file",
      title: "Move a file",
      description: "Move a file to another folder, and rename it if a name is given.",
      annotations: SETS,
      input: z.object({ id: FileId, folder: FolderPath, name: z.string().min(1).max(120).optional() }),
      output: z.object({ file: FileLine }),
      run: ({ id, folder, name }) => {
        const file = requireFile(drive, id);
        file.folder = requireFolder(drive, folder);
        file.name = name ?? file.name;
        notify().resourceUpdated(uriOf(file));
        return { file: toLine(file) };
      },
    },
    {
      name: "share_file",
      title: "Share a file",
      description: "Let a person or a group open a file. People outside acme.example can be named too.",
      // The only tool of the company that can reach people outside it.
      annotations: { ...SETS, openWorldHint: true },
      input: z.object({
        id: FileId,
        grantee: z.union([z.email(), z.string().regex(/^group:[a-z-]+$/)]).describe("E-mail or group:{name}"),
        role: z.enum(["writer", "reader"]).default("reader"),
      }),
      output: z.object({ permissions: z.array(Permission) }),
      run: ({ id, grantee, role }) => {
        const file = requireFile(drive, id);
        if (file.owner === grantee) throw new Error(`${grantee} owns ${id} already.`);
        file.permissions = [
          ...file.permissions.filter((permission) => permission.grantee !== grantee),
          { grantee, role },
        ];
        return { permissions: file.permissions };
      },
    },
    {
      name: "trash_file",
      title: "Move a file to the trash",
      description: "Move a file to the trash, from where only an administrator gets it back.",
      annotations: DESTROYS,
      input: z.object({ id: FileId }),
      run: ({ id }) => {
        const file = requireFile(drive, id);
        file.trashed = true;
        notify().resourcesChanged();
        return `${file.name} (${id}) is in the trash.`;
      },
    },
  ];
}
