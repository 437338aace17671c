#pragma once
/*
 * workspace - the folder that the steps worked in
 */

/**
 * workspace_give_back() - let the owner of the folder remove what the steps made in it
 *
 * An executor that is not root, on a daemon that is, could not remove files of the container's
 * root. What is not the owner's becomes it; where that is not allowed, folders become writable for
 * everybody. Does nothing for an owner that is root or we ourselves. For PID 1 of a sandbox.
 */
void workspace_give_back(const char *path);
